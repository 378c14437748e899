import { fstatSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { cString, syscall } from '../../syscall/call.ts'
import { closeFd } from '../../syscall/process.ts'
import { openPlace, walkTree } from '../tree/walk.ts'

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000

interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Gives a file or directory of the host, and all below it, to a user. */
export function chownTree(source: string, target: string, { uid, gid }: Owner): void {
  if (source.split('/').filter((part) => part !== '').length < 2) {
    throw new TscrunError('USAGE', `volume ${source}: option U would give a directory of the system to uid ${uid}`, {
      subject: source,
      hint: 'use a directory below it',
    })
  }
  try {
    const root = openPlace(source)
    try {
      syscall('fchownat', [root, cString(''), uid, gid, AT_EMPTY_PATH], source)
      if (!fstatSync(root).isDirectory()) return
      walkTree(root, (directory, name) => {
        syscall('fchownat', [directory, cString(name), uid, gid, AT_SYMLINK_NOFOLLOW])
      })
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
