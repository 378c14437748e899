import { constants } from 'node:os'
import type { OciSeccomp } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'
import { actionValue, errnoAction, filterFlags, isErrno, isNotify, isPermissive, KILL_PROCESS } from './actions.ts'
import { AUDIT_ARCH, type FilterArch, filterArches, type HostArch } from './arches.ts'
import { emitConditional } from './arguments.ts'
import { ARCH_OFFSET, type Assembler, assembler, JEQ, type Label, NR_OFFSET } from './assembler.ts'
import type { Conditional, Decision } from './conditions.ts'
import { decisions } from './decisions.ts'
import { emitSearch, joinRanges, type Range } from './ranges.ts'
import { ARM_PRIVATE, FIRST_COMMON, syscallTable, X32_BIT } from './tables.ts'

export interface CompiledFilter {
  /** struct sock_filter[], 8 bytes each, for seccomp(2) SECCOMP_SET_MODE_FILTER. */
  readonly program: Buffer
  readonly instructions: number
  /** SECCOMP_FILTER_FLAG_* for the same call; NEW_LISTENER is among them if the profile notifies. */
  readonly flags: number
  /** Names in the profile that no processor of the family knows. */
  readonly unknown: readonly string[]
}

const ENOSYS = errnoAction(constants.errno.ENOSYS)

/**
 * The profile (runtime-spec config-linux.md, seccomp) as a classic BPF program for a kernel on `host`.
 *
 * As libseccomp reads it in runc and crun: rules that repeat the default action count for nothing; of several rules for
 * one call one without conditions wins, else the first that holds. Where the default is an errno, calls newer than
 * every call the profile names answer ENOSYS, so that a C library falls back instead of giving up (as runc does).
 * A process of an ABI that is not listed is killed. Throws INVALID_CONFIG for words the specification does not have.
 */
export function compileSeccomp(profile: OciSeccomp, host: HostArch): CompiledFilter {
  const arches = filterArches(host, profile.architectures ?? [])
  const otherwise = actionValue(profile.defaultAction, profile.defaultErrnoRet)
  const code = assembler()
  const blocks: [number, Label][] = []
  let notifies = isNotify(otherwise)
  for (const arch of arches) {
    if (arch === 'x32') continue
    const entries = decisions(profile, arch, otherwise)
    if (arch === 'x86_64' && arches.includes('x32')) {
      for (const [number, decision] of decisions(profile, 'x32', otherwise)) entries.set(number, decision)
    }
    notifies ||= [...entries.values()].some(notifying)
    const ranges = joinRanges(entries, background(arch, arches, newestNamed(profile, arch), otherwise))
    blocks.push([AUDIT_ARCH[arch], emitBlock(code, ranges, arch)])
  }
  // Killing one thread of many would leave a process that hangs; the kernel's own words for this case are KILL_PROCESS.
  let entry = code.ret(KILL_PROCESS)
  for (const [arch, label] of blocks.toReversed()) entry = code.jump(JEQ, arch, label, entry)
  code.load(ARCH_OFFSET, entry)
  return {
    program: finish(code),
    instructions: code.length,
    flags: filterFlags(profile.flags, notifies),
    unknown: unknownNames(profile, host),
  }
}

function finish(code: Assembler): Buffer {
  try {
    return code.toBuffer()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new TscrunError('INVALID_CONFIG', `seccomp profile: ${error.message}, the kernel takes 4096`, {
      cause: error,
    })
  }
}

function notifying(decision: Decision): boolean {
  return typeof decision === 'number' ? isNotify(decision) : decision.rules.some(({ action }) => isNotify(action))
}

function emitBlock(code: Assembler, ranges: readonly Range<Decision>[], arch: FilterArch): Label {
  const narrow = arch === 'x86' || arch === 'arm'
  const labels = new Map<Conditional, Label>()
  for (const { value } of ranges) {
    if (typeof value !== 'number' && !labels.has(value)) labels.set(value, emitConditional(code, value, narrow))
  }
  const search = emitSearch(code, ranges, 2 ** 32 - 1, (decision) =>
    typeof decision === 'number' ? code.ret(decision) : (labels.get(decision) ?? 0),
  )
  return code.load(NR_OFFSET, search)
}

/** What numbers answer that no rule names. */
function background(
  arch: FilterArch,
  arches: readonly FilterArch[],
  newest: number,
  otherwise: number,
): Range<Decision>[] {
  const ranges: Range<Decision>[] = [{ start: 0, value: otherwise }]
  if (isErrno(otherwise) && otherwise !== ENOSYS) ranges.push({ start: newest + 1, value: ENOSYS })
  if (arch === 'arm') ranges.push({ start: ARM_PRIVATE, value: otherwise })
  if (arch === 'x86_64') {
    if (arches.includes('x32')) ranges.push({ start: X32_BIT, value: otherwise })
    // A list of what is denied must not be passed by calling the same things under x32 numbers; -1 is what a tracer
    // writes to skip a call.
    else if (isPermissive(otherwise)) {
      ranges.push({ start: X32_BIT, value: KILL_PROCESS }, { start: 2 ** 32 - 1, value: otherwise })
    }
  }
  return ranges
}

/**
 * The highest number of a call that the profile has an opinion on, be it the default one. Numbers below the common ones
 * are older than any kernel tscrun runs on: not named there means not wanted.
 */
function newestNamed(profile: OciSeccomp, arch: FilterArch): number {
  const table = syscallTable(arch)
  let newest = FIRST_COMMON - 1
  for (const { names } of profile.syscalls ?? []) {
    for (const name of names) {
      const number = table.get(name) ?? 0
      if (number > newest && number < ARM_PRIVATE) newest = number
    }
  }
  return newest
}

function unknownNames(profile: OciSeccomp, host: HostArch): string[] {
  const [one, other] = host === 'x64' ? (['x86_64', 'x86'] as const) : (['aarch64', 'arm'] as const)
  const wide = syscallTable(one)
  const narrow = syscallTable(other)
  const unknown = new Set<string>()
  for (const { names } of profile.syscalls ?? []) {
    for (const name of names) if (!wide.has(name) && !narrow.has(name)) unknown.add(name)
  }
  return [...unknown]
}
