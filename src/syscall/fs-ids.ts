import { syscall } from './call.ts'

const PR_GET_SECUREBITS = 27
const PR_SET_SECUREBITS = 28
/** A change of the ids for files takes no capabilities away (capabilities(7)). */
const NO_SETUID_FIXUP = 1 << 2

/**
 * Runs something with these owners for what is made meanwhile, and all rights kept (setfsuid(2), of this thread alone): an
 * id-mapped mount, and a tmpfs of a container, refuse what root of the host makes, since they have no such owner (EOVERFLOW).
 * The action must not wait for anything.
 */
export function makingFilesAs<T>(uid: number, gid: number, action: () => T): T {
  if (uid === 0 && gid === 0) return action()
  const bits = syscall('prctl', [PR_GET_SECUREBITS, 0, 0, 0, 0])
  syscall('prctl', [PR_SET_SECUREBITS, bits | NO_SETUID_FIXUP, 0, 0, 0])
  const beforeGid = syscall('setfsgid', [gid])
  const beforeUid = syscall('setfsuid', [uid])
  try {
    return action()
  } finally {
    syscall('setfsuid', [beforeUid])
    syscall('setfsgid', [beforeGid])
    syscall('prctl', [PR_SET_SECUREBITS, bits, 0, 0, 0])
  }
}
