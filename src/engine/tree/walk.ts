import { readdirSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { RESOLVE } from '../../model/linux.ts'
import { AT_FDCWD, cString, syscall } from '../../syscall/call.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'

/**
 * Calls `visit` for each name below a directory, a directory before what is in it. Containers may write there meanwhile:
 * every directory is opened below the first one without following a link, so what they put in a name's place leads nowhere;
 * what is gone by then is passed over. `visit` is given the descriptor of the directory that a name is in.
 */
export function walkTree(root: number, visit: (directory: number, name: Buffer) => void): void {
  const found: Buffer[] = [Buffer.from('.')]
  for (const path of found) {
    const fd = unlessGone(() => openBelow(root, path))
    if (fd === undefined) continue
    try {
      for (const entry of readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true, encoding: 'buffer' })) {
        unlessGone(() => visit(fd, entry.name))
        if (entry.isDirectory()) found.push(Buffer.concat([path, Buffer.from('/'), entry.name]))
      }
    } finally {
      closeFd(fd)
    }
  }
}

/** A descriptor of what lies at a path of the host, which may be a link. */
export function openPlace(path: string): number {
  return openAt(AT_FDCWD, Buffer.from(path), openFlags.path, 0)
}

function openBelow(root: number, path: Buffer): number {
  const flags = openFlags.readonly | openFlags.directory | openFlags.nofollow
  return openAt(root, path, flags, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV)
}

const GONE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV']

/** What is mounted there is not of the tree. */
function unlessGone<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch (error) {
    if (GONE.includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}

function openAt(dir: number, name: Uint8Array, flags: number, resolve: number): number {
  const how = new Uint8Array(new BigUint64Array([BigInt(flags | openFlags.cloexec), 0n, BigInt(resolve)]).buffer)
  return syscall('openat2', [dir, cString(name), how, how.length])
}
