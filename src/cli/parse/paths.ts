import { posix } from 'node:path'
import { badFlag } from '../errors.ts'

/** A path of the host, absolute, without `.` and `..`: `./x` is meant from the caller's directory. */
export function absolutePath(path: string, cwd: string): string {
  return path === '' ? '' : posix.resolve(cwd, path)
}

/** A mount target in the container: absolute, cleaned, never `/` itself. Throws USAGE about the whole `value`. */
export function containerPath(flag: string, value: string, path: string): string {
  if (!path.startsWith('/'))
    throw badFlag(flag, value, `the path in the container must begin with /: ${JSON.stringify(path)}`)
  const clean = posix.resolve(path)
  if (clean === '/') throw badFlag(flag, value, 'the path in the container cannot be /', '--rootfs gives another root')
  return clean
}
