import type { OciSeccomp, OciSyscallArg, OciSyscallRule } from '../../model/config.ts'
import {
  SECCOMP_ACTIONS,
  SECCOMP_ARCHITECTURES,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
} from '../../security/seccomp/names.ts'
import { invalid, type Place, under } from './place.ts'
import {
  absolutePath,
  anyText,
  checked,
  integer,
  list,
  mapped,
  object,
  oneOf,
  optional,
  type Read,
  required,
  text,
  unlessEmpty,
  unsigned64,
} from './vocabulary.ts'

/** A register's value, exactly: text above 2^53-1. */
const register: Read<number | string> = mapped(unsigned64, (value) =>
  typeof value === 'bigint' ? value.toString() : value,
)

const argument: Read<OciSyscallArg> = object<OciSyscallArg>({
  index: required(integer({ highest: 5 })),
  value: required(register),
  valueTwo: optional(register),
  op: required(oneOf(SECCOMP_OPERATORS, 'comparison')),
})

const action = oneOf(SECCOMP_ACTIONS, 'action')
const errno = integer({ highest: 2 ** 32 - 1 })

/** MAX_ERRNO; a tracer is told any 16 bits. */
const LARGEST: Readonly<Record<string, number>> = { SCMP_ACT_ERRNO: 4095, SCMP_ACT_TRACE: 65_535 }

/** An errno beside an action that returns none must be an error (config-linux.md, Seccomp). */
function checkErrno(name: string, value: number | undefined, at: Place): void {
  if (value === undefined) return
  const largest = LARGEST[name]
  if (largest === undefined) throw invalid(at, `${name} returns no errno`)
  if (value > largest) throw invalid(at, `${value} is not a number from 0 to ${largest}`)
}

const rule: Read<OciSyscallRule> = checked(
  object<OciSyscallRule>({
    names: required(
      checked(list(text), (names, at) => {
        if (names.length === 0) throw invalid(at, 'empty: it names no system call')
      }),
    ),
    action: required(action),
    errnoRet: optional(errno),
    args: optional(list(argument)),
  }),
  ({ action: name, errnoRet }, at) => checkErrno(name, errnoRet, under(at, 'errnoRet')),
)

/** `linux.seccomp` (config-linux.md, Seccomp). */
export const seccomp: Read<OciSeccomp> = checked(
  object<OciSeccomp>({
    defaultAction: required(action),
    defaultErrnoRet: optional(errno),
    architectures: optional(list(oneOf(SECCOMP_ARCHITECTURES, 'architecture'))),
    flags: optional(list(oneOf(SECCOMP_FLAGS, 'filter flag'))),
    listenerPath: optional(unlessEmpty(absolutePath)),
    listenerMetadata: optional(unlessEmpty(anyText)),
    syscalls: optional(list(rule)),
  }),
  checkProfile,
)

const NOTIFY = 'SCMP_ACT_NOTIFY'

function checkProfile(profile: OciSeccomp, at: Place): void {
  checkErrno(profile.defaultAction, profile.defaultErrnoRet, under(at, 'defaultErrnoRet'))
  if (profile.defaultAction === NOTIFY) {
    // The first call that waits for an answer would be the one that hands the agent its descriptor.
    throw invalid(under(at, 'defaultAction'), `${NOTIFY} can be the action of named system calls only`)
  }
  if (profile.listenerPath !== undefined) return
  const waiting = profile.syscalls?.findIndex((one) => one.action === NOTIFY) ?? -1
  if (waiting >= 0) {
    throw invalid(under(at, 'listenerPath'), `missing, and syscalls[${waiting}].action is ${NOTIFY}`)
  }
  if (profile.listenerMetadata !== undefined) {
    throw invalid(under(at, 'listenerMetadata'), 'there is no listenerPath to send it to')
  }
}
