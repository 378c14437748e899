import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { constants as os } from 'node:os'
import { errnoOf } from '../model/errors.ts'
import { cString, trySyscall } from '../syscall/call.ts'
import { SyscallError } from '../syscall/errno.ts'

/** Where a container without a mount namespace has put its mounts among the host's. */
export interface HostMount {
  /** Absolute directory of its root filesystem. */
  readonly path: string
  /** Number of the mount that was there before (proc_pid_fdinfo(5), mnt_id). */
  readonly below: number
}

const O_PATH = 0o10000000
/** umount2(2): MNT_DETACH, UMOUNT_NOFOLLOW. */
const DETACH = 2
const NOFOLLOW = 8

/** What is at a directory now, to be handed to `removeHostMount` later. */
export function hostMountAt(path: string): HostMount {
  return { path, below: mountId(path) ?? -1 }
}

/** Takes off the root filesystem that a container has put over its directory, with all below it; a caller's own stays. */
export function removeHostMount({ path, below }: HostMount): void {
  const now = mountId(path)
  if (now === undefined || now === below) return
  const result = trySyscall('umount2', [cString(path), DETACH | NOFOLLOW])
  // It is no mount point: the caller has taken off what was there.
  if (result < 0 && result !== -os.errno.EINVAL) throw new SyscallError('umount2', -result, path)
}

function mountId(path: string): number | undefined {
  let fd: number
  try {
    fd = openSync(path, O_PATH | constants.O_DIRECTORY)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined
    throw error
  }
  try {
    return Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? -1)
  } finally {
    closeSync(fd)
  }
}
