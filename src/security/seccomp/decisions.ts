import type { OciSeccomp } from '../../model/config.ts'
import { actionValue } from './actions.ts'
import type { FilterArch } from './arches.ts'
import { type Conditional, type Decision, type Rule, splitRule } from './conditions.ts'
import { syscallTable } from './tables.ts'

/**
 * Calls that 32-bit x86 can also make through a multiplexer, with their number in it (linux/net.h, linux/ipc.h).
 * Older C libraries know no other way.
 */
const MULTIPLEXED = {
  socketcall: [
    '',
    'socket',
    'bind',
    'connect',
    'listen',
    'accept',
    'getsockname',
    'getpeername',
    'socketpair',
    'send',
    'recv',
    'sendto',
    'recvfrom',
    'shutdown',
    'setsockopt',
    'getsockopt',
    'sendmsg',
    'recvmsg',
    'accept4',
    'recvmmsg',
    'sendmmsg',
  ],
  ipc: [
    '',
    'semop',
    'semget',
    'semctl',
    'semtimedop',
    '',
    '',
    '',
    '',
    '',
    '',
    'msgsnd',
    'msgrcv',
    'msgget',
    'msgctl',
    '',
    '',
    '',
    '',
    '',
    '',
    'shmat',
    'shmdt',
    'shmget',
    'shmctl',
  ],
} as const

/** What `profile` decides about each call of `arch` that it names, by number. */
export function decisions(profile: OciSeccomp, arch: FilterArch, otherwise: number): Map<number, Decision> {
  const table = syscallTable(arch)
  const always = new Map<string, number>()
  const rules = new Map<string, Rule[]>()
  for (const { names, action: name, errnoRet, args } of profile.syscalls ?? []) {
    const action = actionValue(name, errnoRet)
    if (action === otherwise) continue
    const conditions = args ?? []
    if (conditions.length === 0) {
      for (const call of names) if (!always.has(call)) always.set(call, action)
    } else {
      const split = splitRule(action, conditions)
      for (const call of names) {
        const list = rules.get(call)
        if (list === undefined) rules.set(call, [...split])
        else list.push(...split)
      }
    }
  }
  if (arch === 'x86') multiplex(always, rules)
  const entries = new Map<number, Decision>()
  const shared = sharing(otherwise)
  for (const [call, list] of rules) {
    const number = table.get(call)
    if (number !== undefined) entries.set(number, shared(list))
  }
  for (const [call, action] of always) {
    const number = table.get(call)
    if (number !== undefined) entries.set(number, action)
  }
  return entries
}

/**
 * What is decided about `socket` holds for socketcall(SOCKET) too, and so on, unless the profile speaks of the
 * multiplexer itself. Decisions by argument are left out: the arguments are in memory, where a filter cannot look,
 * and allowing the call whatever they are would undo the decision.
 */
function multiplex(always: Map<string, number>, rules: Map<string, Rule[]>): void {
  for (const [multiplexer, calls] of Object.entries(MULTIPLEXED)) {
    if (always.has(multiplexer) || rules.has(multiplexer)) continue
    const list: Rule[] = []
    calls.forEach((call, value) => {
      const action = always.get(call)
      if (action !== undefined)
        list.push({ action, conditions: [{ index: 0, operator: 'EQ', value: BigInt(value), mask: 0n }] })
    })
    if (list.length > 0) rules.set(multiplexer, list)
  }
}

/** Calls with the same rules get the same object, and so the same code. */
function sharing(otherwise: number): (rules: readonly Rule[]) => Conditional {
  const known: Conditional[] = []
  return (rules) => {
    const same = known.find(
      (other) => other.rules.length === rules.length && other.rules.every((rule, index) => rule === rules[index]),
    )
    if (same !== undefined) return same
    const made = { rules, otherwise }
    known.push(made)
    return made
  }
}
