import { fstatSync, readdirSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { RESOLVE } from '../../model/linux.ts'
import { AT_FDCWD, cString, syscall } from '../../syscall/call.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'

const AT_SYMLINK_NOFOLLOW = 0x100

interface Owner {
  readonly uid: number
  readonly gid: number
}

/**
 * Gives a directory of the host and all below it to a user. Containers may write there meanwhile: each directory is opened
 * below the first one without following a link, and each name is changed below its directory's descriptor.
 */
export function chownTree(source: string, target: string, { uid, gid }: Owner): void {
  if (source.split('/').filter((part) => part !== '').length < 2) {
    throw new TscrunError('USAGE', `volume ${source}: option U would give a directory of the system to uid ${uid}`, {
      subject: source,
      hint: 'use a directory below it',
    })
  }
  try {
    const root = openAt(AT_FDCWD, Buffer.from(source), openFlags.path, 0)
    try {
      syscall('fchownat', [root, cString(''), uid, gid, AT_EMPTY_PATH], source)
      const found: Buffer[] = fstatSync(root).isDirectory() ? [Buffer.from('.')] : []
      for (const directory of found) found.push(...chownNames(root, directory, { uid, gid }))
    } finally {
      closeFd(root)
    }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined || error instanceof TscrunError) throw error
    throw new TscrunError('KERNEL_REFUSED', `chown ${source} for ${target}: ${errno}`, {
      errno,
      subject: source,
      cause: error,
      hint: 'leave option U out, and change the owners yourself',
    })
  }
}

const AT_EMPTY_PATH = 0x1000

/** Answers the directories in it. */
function chownNames(root: number, directory: Buffer, { uid, gid }: Owner): Buffer[] {
  const flags = openFlags.readonly | openFlags.directory | openFlags.nofollow
  const fd = openAt(root, directory, flags, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS)
  try {
    const entries = readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true, encoding: 'buffer' })
    for (const { name } of entries) syscall('fchownat', [fd, cString(name), uid, gid, AT_SYMLINK_NOFOLLOW])
    const inside = entries.filter((entry) => entry.isDirectory())
    return inside.map(({ name }) => Buffer.concat([directory, Buffer.from('/'), name]))
  } finally {
    closeFd(fd)
  }
}

function openAt(dir: number, name: Uint8Array, flags: number, resolve: number): number {
  const how = new Uint8Array(new BigUint64Array([BigInt(flags | openFlags.cloexec), 0n, BigInt(resolve)]).buffer)
  return syscall('openat2', [dir, cString(name), how, how.length])
}
