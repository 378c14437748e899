import { AT, CLONE, FSCONFIG, MOUNT_ATTR, MS, O, OPEN_TREE_CLONE, PR, RESOLVE } from '../model/linux.ts'
import { MEETING, TARGET } from '../model/step.ts'
import { CAPABILITIES } from '../security/capabilities.ts'
import { RLIMITS } from '../security/rlimits.ts'

type Names = Readonly<Record<string, number>>
type Wording = (value: bigint) => string | undefined

/** `NEWPID|NEWNET`: every bit by its name, what has none as a number. */
function bits(names: Names): Wording {
  return (value) => {
    const found = Object.entries(names).filter(([, bit]) => bit !== 0 && (value & BigInt(bit)) === BigInt(bit))
    const rest = found.reduce((left, [, bit]) => left & ~BigInt(bit), value)
    return [...found.map(([name]) => name), ...(rest === 0n ? [] : [hex(rest)])].join('|')
  }
}

/** One of several values. */
function one(names: Names): Wording {
  return (value) => Object.entries(names).find(([, number]) => BigInt(number) === value)?.[0]
}

function octal(value: bigint): string {
  return `0${value.toString(8)}`
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}

/** `CHOWN,KILL`, or `ALL`. */
function capabilities(mask: bigint): string {
  const names = CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n)
  return names.length === CAPABILITIES.length ? 'ALL' : names.map((name) => name.slice('CAP_'.length)).join(',')
}

/** `8:16`, from Linux's encoding (makedev(3)). */
function device(value: bigint): string {
  const major = ((value >> 8n) & 0xfffn) | ((value >> 32n) & 0xfffff000n)
  const minor = (value & 0xffn) | ((value >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

const MEETINGS: Names = MEETING
const TREE: Names = { CLONE: OPEN_TREE_CLONE, ...AT }

/** How a step's number is told, by op and field; `*` where it is the same for every op. */
const WORDINGS: Readonly<Record<string, Wording>> = {
  'open.flags': bits(O),
  'open.resolve': bits(RESOLVE),
  'clone.flags': bits(CLONE),
  'clone_beside.flags': bits(CLONE),
  'unshare.flags': bits(CLONE),
  'setns.type': bits(CLONE),
  'join.flags': bits(CLONE),
  'mount.flags': bits(MS),
  'mount_setattr.set': bits(MOUNT_ATTR),
  'mount_setattr.clear': bits(MOUNT_ATTR),
  'mount_setattr.propagation': bits(MS),
  'mount_setattr.at': bits(AT),
  'open_tree.flags': bits(TREE),
  'fsmount.attributes': bits(MOUNT_ATTR),
  'fsconfig.command': one(FSCONFIG),
  'prctl.option': one(PR),
  'target.kind': one(TARGET),
  'notify.point': one(MEETINGS),
  'wait.point': one(MEETINGS),
  'meet_caller.point': one(MEETINGS),
  'rlimit.resource': (value) => RLIMITS[Number(value)],
  'raise_limit.resource': (value) => RLIMITS[Number(value)],
  'device.device': device,
  'device.mode': octal,
  'seccomp_notify.flags': hex,
  'mknod.device': device,
  'bounding.keep': capabilities,
  'capset.effective': capabilities,
  'capset.permitted': capabilities,
  'capset.inheritable': capabilities,
  'ambient.raise': capabilities,
  '*.mode': octal,
  '*.mask': octal,
  '*.flags': hex,
}

/** A number of a step in words: the kernel's names for bits and values, else the number. */
export function nameNumber(op: string, field: string, value: number | bigint): string {
  const wording = WORDINGS[`${op}.${field}`] ?? WORDINGS[`*.${field}`]
  return wording?.(BigInt(value)) ?? String(value)
}
