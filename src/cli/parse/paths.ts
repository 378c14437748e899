import { posix } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import { badFlag } from '../errors.ts'

/**
 * A path of the host, absolute, without `.` and `..`: `./x` is meant from the caller's directory. Throws USAGE for one
 * that would need a directory that is gone (`cwd` is then empty).
 */
export function absolutePath(path: string, cwd: string): string {
  if (path === '') return ''
  if (cwd === '' && !path.startsWith('/')) {
    throw new TscrunError('USAGE', `path ${path}: the current directory is gone`, {
      subject: path,
      hint: 'change to one that is there, or give an absolute path',
    })
  }
  return posix.resolve(cwd, path)
}

/** A mount target in the container: absolute, cleaned, never `/` itself. Throws USAGE about the whole `value`. */
export function containerPath(flag: string, value: string, path: string): string {
  if (!path.startsWith('/'))
    throw badFlag(flag, value, `the path in the container must begin with /: ${JSON.stringify(path)}`)
  const clean = posix.resolve(path)
  if (clean === '/') throw badFlag(flag, value, 'the path in the container cannot be /', '--rootfs gives another root')
  return clean
}
