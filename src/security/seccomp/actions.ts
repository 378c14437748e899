import { constants } from 'node:os'
import { TscrunError } from '../../model/errors.ts'

/** What a filter answers the kernel with: an action in the upper half, its datum in the lower (linux/seccomp.h). */
export const KILL_PROCESS = 0x80000000
export const KILL_THREAD = 0x00000000
export const ALLOW = 0x7fff0000
const TRAP = 0x00030000
const ERRNO = 0x00050000
const NOTIFY = 0x7fc00000
const TRACE = 0x7ff00000
const LOG = 0x7ffc0000

const FLAG_TSYNC = 1
const FLAG_LOG = 2
const FLAG_SPEC_ALLOW = 4
const FLAG_NEW_LISTENER = 8
const FLAG_TSYNC_ESRCH = 16
const FLAG_WAIT_KILLABLE = 32

/** The kernel caps what ERRNO may carry (MAX_ERRNO). */
const MAX_ERRNO = 4095

/** `SCMP_ACT_ERRNO` and its kind with their datum (EPERM unless `errnoRet` says otherwise) as the kernel's 32 bits. */
export function actionValue(name: string, errnoRet: number | undefined): number {
  const datum = errnoRet ?? constants.errno.EPERM
  switch (name) {
    case 'SCMP_ACT_KILL':
    case 'SCMP_ACT_KILL_THREAD':
      return KILL_THREAD
    case 'SCMP_ACT_KILL_PROCESS':
      return KILL_PROCESS
    case 'SCMP_ACT_TRAP':
      return TRAP
    case 'SCMP_ACT_ERRNO':
      return errnoAction(datum)
    case 'SCMP_ACT_TRACE':
      checkDatum(datum, 0xffff)
      return TRACE + datum
    case 'SCMP_ACT_ALLOW':
      return ALLOW
    case 'SCMP_ACT_LOG':
      return LOG
    case 'SCMP_ACT_NOTIFY':
      return NOTIFY
    default:
      throw new TscrunError('INVALID_CONFIG', `seccomp action ${JSON.stringify(name)}: no such action`, {
        subject: name,
      })
  }
}

/** The answer that makes a call fail with `errno`. */
export function errnoAction(errno: number): number {
  checkDatum(errno, MAX_ERRNO)
  return ERRNO + errno
}

export function isErrno(action: number): boolean {
  return action >= ERRNO && action <= ERRNO + MAX_ERRNO
}

/** True where the call still happens, or may. */
export function isPermissive(action: number): boolean {
  return action >= NOTIFY && action < KILL_PROCESS
}

export function isNotify(action: number): boolean {
  return action === NOTIFY
}

function checkDatum(value: number, highest: number): void {
  if (!Number.isInteger(value) || value < 0 || value > highest) {
    throw new TscrunError('INVALID_CONFIG', `seccomp errnoRet ${value}: not a number from 0 to ${highest}`)
  }
}

/**
 * The flags of seccomp(2). None listed at all (not even an empty list) means SPEC_ALLOW, as in runc: kernels before
 * 5.16 otherwise slow every filtered process down against Spectre v4.
 */
export function filterFlags(names: readonly string[] | undefined, notifies: boolean): number {
  let flags = names === undefined ? FLAG_SPEC_ALLOW : 0
  for (const name of names ?? []) flags |= flagValue(name)
  if (!notifies) return flags
  // The kernel takes TSYNC beside a listener only if told how to report a thread that cannot follow (5.7).
  return flags | FLAG_NEW_LISTENER | (flags & FLAG_TSYNC ? FLAG_TSYNC_ESRCH : 0)
}

function flagValue(name: string): number {
  switch (name) {
    case 'SECCOMP_FILTER_FLAG_TSYNC':
      return FLAG_TSYNC
    case 'SECCOMP_FILTER_FLAG_LOG':
      return FLAG_LOG
    case 'SECCOMP_FILTER_FLAG_SPEC_ALLOW':
      return FLAG_SPEC_ALLOW
    case 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV':
      return FLAG_WAIT_KILLABLE
    default:
      throw new TscrunError('INVALID_CONFIG', `seccomp flag ${JSON.stringify(name)}: no such flag`, { subject: name })
  }
}
