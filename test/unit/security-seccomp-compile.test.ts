import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OciSeccomp, OciSyscallArg, OciSyscallRule } from '../../src/model/config.ts'
import { compileSeccomp } from '../../src/security/seccomp/compile.ts'
import { syscallTable } from '../../src/security/seccomp/tables.ts'
import { loadLibseccomp, runFilter, type SeccompData } from './security-bpf.ts'

const ENOSYS = 0x00050026
const EPERM = 0x00050001
const ALLOW = 0x7fff0000
const KILL_PROCESS = 0x80000000
const X86_64 = 0xc000003e
const X86 = 0x40000003
const AARCH64 = 0xc00000b7
const ARM = 0x40000028

const library = loadLibseccomp()

function answer(profile: OciSeccomp, data: Partial<SeccompData>, host: 'x64' | 'arm64' = 'x64'): number {
  const { program } = compileSeccomp(profile, host)
  return runFilter(program, { nr: 0, arch: host === 'x64' ? X86_64 : AARCH64, args: [], ...data }).action
}

const allow = (...names: string[]): OciSyscallRule => ({ names, action: 'SCMP_ACT_ALLOW' })
const denyAllBut = (...syscalls: OciSyscallRule[]): OciSeccomp => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  syscalls,
})

describe('a seccomp filter', () => {
  it('allows what the profile names and refuses the rest', () => {
    const profile = denyAllBut(allow('read', 'clone3'))
    expect(answer(profile, { nr: 0 })).toBe(ALLOW)
    expect(answer(profile, { nr: 1 })).toBe(EPERM)
    expect(answer(profile, { nr: 435 })).toBe(ALLOW)
    expect(answer(profile, { nr: 3, arch: X86 })).toBe(ALLOW)
    expect(answer(profile, { nr: 0, arch: X86 })).toBe(EPERM)
  })

  it('answers ENOSYS to calls newer than every one the profile names', () => {
    const profile = denyAllBut(allow('read', 'openat2'))
    expect(answer(profile, { nr: 436 })).toBe(EPERM)
    expect(answer(profile, { nr: 438 })).toBe(ENOSYS)
    expect(answer(profile, { nr: 5000 })).toBe(ENOSYS)
    expect(answer(profile, { nr: -1 })).toBe(ENOSYS)
    // Numbers from before the common ones are old, named or not.
    expect(answer(denyAllBut(allow('read')), { nr: 334 })).toBe(EPERM)
    expect(answer(denyAllBut(allow('read')), { nr: 424 })).toBe(ENOSYS)
  })

  it('leaves new calls to a default that is no errno, or is ENOSYS already', () => {
    const profile = denyAllBut(allow('read'))
    expect(answer({ ...profile, defaultAction: 'SCMP_ACT_KILL_PROCESS' }, { nr: 900 })).toBe(KILL_PROCESS)
    expect(answer({ ...profile, defaultAction: 'SCMP_ACT_ALLOW' }, { nr: 900 })).toBe(ALLOW)
    expect(answer({ ...profile, defaultErrnoRet: 38 }, { nr: 2 })).toBe(ENOSYS)
  })

  it('kills processes of an ABI that is not listed', () => {
    expect(answer({ ...denyAllBut(allow('read')), architectures: [] }, { nr: 3, arch: X86 })).toBe(KILL_PROCESS)
    expect(answer(denyAllBut(allow('read')), { nr: 63, arch: AARCH64 })).toBe(KILL_PROCESS)
  })

  it('cannot be passed by x32 numbers', () => {
    const x32read = 0x40000000
    const denyRead: OciSeccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['read'], action: 'SCMP_ACT_ERRNO' }],
    }
    expect(answer(denyAllBut(allow('read')), { nr: x32read })).toBe(ENOSYS)
    expect(answer(denyRead, { nr: x32read })).toBe(KILL_PROCESS)
    expect(answer(denyRead, { nr: x32read + 1 })).toBe(KILL_PROCESS)
    expect(answer(denyRead, { nr: -1 })).toBe(ALLOW)
    const listed = { ...denyRead, architectures: ['SCMP_ARCH_X32'] }
    expect(answer(listed, { nr: x32read })).toBe(EPERM)
    expect(answer(listed, { nr: x32read + 1 })).toBe(ALLOW)
  })

  it('holds what it says of a socket call for the 32-bit multiplexer too', () => {
    const profile = denyAllBut(allow('bind', 'shmget'), {
      ...allow('socket'),
      args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }],
    })
    const socketcall = (call: bigint) => answer(profile, { nr: 102, arch: X86, args: [call] })
    expect(socketcall(2n)).toBe(ALLOW)
    expect(socketcall(3n)).toBe(EPERM)
    // Its family is in memory: allowing it would allow them all.
    expect(socketcall(1n)).toBe(EPERM)
    expect(answer(profile, { nr: 117, arch: X86, args: [23n] })).toBe(ALLOW)
    expect(answer(profile, { nr: 117, arch: X86, args: [21n] })).toBe(EPERM)
    const spoken = denyAllBut(allow('bind'), {
      ...allow('socketcall'),
      args: [{ index: 0, value: 9, op: 'SCMP_CMP_EQ' }],
    })
    expect(answer(spoken, { nr: 102, arch: X86, args: [2n] })).toBe(EPERM)
  })

  it('compares all 64 bits of an argument', () => {
    const profile = denyAllBut({ ...allow('read'), args: [{ index: 5, value: 2 ** 33 + 7, op: 'SCMP_CMP_EQ' }] })
    const read = (value: bigint) => answer(profile, { args: [0n, 0n, 0n, 0n, 0n, value] })
    expect(read(2n ** 33n + 7n)).toBe(ALLOW)
    expect(read(7n)).toBe(EPERM)
    expect(read(2n ** 33n)).toBe(EPERM)
  })

  it('takes several conditions on one argument as alternatives, as runc does', () => {
    const args = [12, 15].map((value): OciSyscallArg => ({ index: 1, value, op: 'SCMP_CMP_EQ' }))
    const profile = denyAllBut({ ...allow('read'), args })
    expect([12n, 15n, 13n].map((value) => answer(profile, { args: [0n, value] }))).toEqual([ALLOW, ALLOW, EPERM])
  })

  it('has the flags asked for, SPEC_ALLOW if the profile does not speak of flags', () => {
    expect(compileSeccomp(denyAllBut(), 'x64').flags).toBe(4)
    expect(compileSeccomp({ ...denyAllBut(), flags: [] }, 'x64').flags).toBe(0)
    const names = ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']
    expect(compileSeccomp({ ...denyAllBut(), flags: names }, 'x64').flags).toBe(1 + 2 + 32)
    const notify = { names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }
    expect(compileSeccomp({ ...denyAllBut(notify), flags: [] }, 'x64').flags).toBe(8)
    expect(compileSeccomp({ ...denyAllBut(notify), flags: names }, 'x64').flags).toBe(1 + 2 + 8 + 16 + 32)
  })

  it('reports names no processor of the family has', () => {
    const profile = denyAllBut(allow('read', 'socketcall', 'riscv_hwprobe', 'nonsense', '__proto__'))
    expect(compileSeccomp(profile, 'x64').unknown).toEqual(['riscv_hwprobe', 'nonsense', '__proto__'])
    expect(compileSeccomp(denyAllBut(allow('set_tls')), 'arm64').unknown).toEqual([])
  })

  it.each<[string, OciSeccomp]>([
    ['seccomp action "SCMP_ACT_DENY": no such action', { defaultAction: 'SCMP_ACT_DENY' }],
    ['seccomp errnoRet 4096: not a number from 0 to 4095', { ...denyAllBut(), defaultErrnoRet: 4096 }],
    ['seccomp architecture "x86": no such architecture', { ...denyAllBut(), architectures: ['x86'] }],
    ['seccomp flag "TSYNC": no such flag', { ...denyAllBut(), flags: ['TSYNC'] }],
    [
      'seccomp operator "EQ": no such operator',
      denyAllBut({ ...allow('read'), args: [{ index: 0, value: 0, op: 'EQ' }] }),
    ],
    [
      'seccomp argument 6: a system call has',
      denyAllBut({ ...allow('read'), args: [{ index: 6, value: 0, op: 'SCMP_CMP_EQ' }] }),
    ],
    [
      'seccomp argument value 18446744073709551616: not',
      denyAllBut({ ...allow('read'), args: [{ index: 0, value: `${2n ** 64n}`, op: 'SCMP_CMP_EQ' }] }),
    ],
    [
      'seccomp argument value -1: not',
      denyAllBut({ ...allow('read'), args: [{ index: 0, value: '-1', op: 'SCMP_CMP_EQ' }] }),
    ],
    [
      'seccomp argument value 18446744073709552000: not',
      denyAllBut({ ...allow('read'), args: [{ index: 0, value: 2 ** 64, op: 'SCMP_CMP_EQ' }] }),
    ],
  ])('is refused with one line: %s', (message, profile) => {
    expect(() => compileSeccomp(profile, 'x64')).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
    expect(() => compileSeccomp(profile, 'x64')).toThrow(message)
  })

  it("that would exceed the kernel's 4096 instructions is refused", () => {
    const names = [...syscallTable('x86_64').keys()]
    const syscalls = names.flatMap((name, number) =>
      [0, 1, 2].map((index) => ({ ...allow(name), args: [{ index, value: 2 ** 40 + number, op: 'SCMP_CMP_EQ' }] })),
    )
    expect(() => compileSeccomp(denyAllBut(...syscalls), 'x64')).toThrow(
      /^seccomp profile: a filter of \d+ instructions, the kernel takes 4096$/,
    )
  })
})

const SMALL = [0, 1, 2, 3, 38, 0x7fffffff, 0x80000000, 0xffffffff]
/** As the reader of config.json hands them on: text beyond what a number holds. */
const LARGE = [...SMALL, 2 ** 32, 2 ** 32 + 1, 2 ** 40 + 3, 2 ** 52, `${2n ** 63n + 1n}`, `${2n ** 64n - 1n}`]
const NATIVE = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
}
/** Calls that libseccomp takes to mean a multiplexer's as well; those with conditions it treats unlike us, on purpose. */
const MULTIPLEXED =
  /socket|^(bind|connect|listen|accept4?|get(sock|peer)name|send(to|msg|mmsg)?|recv(from|msg|mmsg)?|shutdown|[gs]etsockopt|ipc|(sem|msg|shm)[a-z]+)$/

const ACTIONS = ['ALLOW', 'ERRNO', 'KILL_THREAD', 'KILL_PROCESS', 'TRAP', 'TRACE', 'LOG'].map(
  (name) => `SCMP_ACT_${name}`,
)
const action = fc.record({ action: fc.constantFrom(...ACTIONS), errnoRet: fc.constantFrom(1, 13, 38, 97) })
const defaults = fc.record({ defaultAction: fc.constantFrom(...ACTIONS), defaultErrnoRet: fc.constantFrom(1, 13, 38) })

function condition(values: readonly (number | string)[]): fc.Arbitrary<OciSyscallArg> {
  const value = fc.constantFrom(...values)
  const operator = fc.constantFrom('NE', 'LT', 'LE', 'EQ', 'GE', 'GT').map((name) => `SCMP_CMP_${name}`)
  const masked = fc.record({ index: fc.nat(5), mask: value, bits: value })
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ index: fc.nat(5), value, op: operator }) },
    masked.map(({ index, mask, bits }) => ({
      index,
      value: mask,
      valueTwo: `${BigInt(mask) & BigInt(bits)}`,
      op: 'SCMP_CMP_MASKED_EQ',
    })),
  )
}

/** A mask of no bits makes a condition that always holds, which libseccomp takes for a rule without one. */
const conjunction = (values: readonly (number | string)[]) =>
  fc.uniqueArray(
    condition(values).filter(({ op, value }) => op !== 'SCMP_CMP_MASKED_EQ' || value !== 0),
    { minLength: 1, maxLength: 3, selector: ({ index }) => index },
  )

/** Alternatives: several values of one argument. */
const alternatives = (values: readonly (number | string)[]) =>
  fc
    .record({ index: fc.nat(5), values: fc.subarray([...values], { minLength: 2, maxLength: 4 }) })
    .map((picked) => picked.values.map((value): OciSyscallArg[] => [{ index: picked.index, value, op: 'SCMP_CMP_EQ' }]))

/**
 * Profiles that libseccomp gives their plain meaning: it does not for every mix of rules about one call (2.5.4 takes
 * "arg2 != 0 and arg3 != 0" beside "arg2 < 1" wrongly), and refuses contradictions.
 */
function profiles(host: 'x64' | 'arm64'): fc.Arbitrary<OciSeccomp> {
  const tables = host === 'x64' ? (['x86_64', 'x86'] as const) : (['aarch64', 'arm'] as const)
  const names = new Set(tables.flatMap((arch) => [...syscallTable(arch).keys()]))
  // libseccomp does not know the second name of ARM's arm_sync_file_range.
  const known = [...names].filter((name) => library.knows(name) && name !== 'sync_file_range2')
  const plain = known.filter((name) => !MULTIPLEXED.test(name))
  const multiplexed = known.filter((name) => MULTIPLEXED.test(name))
  const architectures = fc.subarray(NATIVE[host].slice(1)).map((others) => [NATIVE[host][0] ?? '', ...others])
  return architectures.chain((arches) => {
    const values = arches.length > 1 ? SMALL : LARGE
    const always = fc.record({ rule: action, names: fc.subarray(plain, { maxLength: 60 }) })
    const sockets = fc.record({ rule: action, names: fc.subarray(multiplexed) })
    const lists = fc.oneof(
      conjunction(values).map((list) => [list]),
      alternatives(values),
    )
    const sometimes = fc.record({ rule: action, name: fc.constantFrom(...plain), lists })
    const parts = fc.tuple(
      fc.uniqueArray(sometimes, { maxLength: 12, selector: ({ name }) => name }),
      fc.array(always, { maxLength: 4 }),
      sockets,
    )
    return fc.record({ head: defaults, parts }).map(({ head, parts: [conditional, unconditional, socket] }) => ({
      ...head,
      architectures: arches,
      syscalls: [
        ...conditional.flatMap(({ rule, name, lists: args }) =>
          args.map((list) => ({ ...rule, names: [name], args: list })),
        ),
        ...[...unconditional, socket].map((part) => ({ ...part.rule, names: part.names })),
      ],
    }))
  })
}

/** Every number and its neighbours that matter, on every ABI of the host. */
function questions(profile: OciSeccomp, host: 'x64' | 'arm64', args: readonly bigint[]): SeccompData[] {
  const arches = host === 'x64' ? [X86_64, X86] : [AARCH64, ARM]
  const numbers = Array.from({ length: 470 }, (_, number) => number)
  const special = host === 'x64' ? [512, 547] : [0x0f0001, 0x0f0005, 0x0f0006]
  const x32 = profile.architectures?.includes('SCMP_ARCH_X32')
    ? [0, 1, 13, 59, 335, 424, 512, 520, 547].map((number) => number + 0x40000000)
    : []
  return arches.flatMap((arch) => {
    const wide = arch === X86_64 || arch === AARCH64
    const low = args.map((value) => value & 0xffffffffn)
    const plain = [...numbers, ...special].map((nr) => ({ nr, arch, args: wide ? args : low }))
    // libseccomp takes x32's arguments for 32 bits wide; the kernel shows the whole register.
    return wide ? [...plain, ...x32.map((nr) => ({ nr, arch, args: low }))] : plain
  })
}

const TABLES: Record<number, 'x86_64' | 'x86' | 'aarch64' | 'arm'> = {
  [X86_64]: 'x86_64',
  [X86]: 'x86',
  [AARCH64]: 'aarch64',
  [ARM]: 'arm',
}

/** The highest number of `arch` that the profile names, but at least the last one from before numbers were common. */
function newestNamed(profile: OciSeccomp, arch: number): number {
  const table = syscallTable(TABLES[arch] ?? 'x86_64')
  const numbers = profile.syscalls?.flatMap((rule) => rule.names).map((name) => table.get(name) ?? 0) ?? []
  return Math.max(423, ...numbers.filter((number) => number < 0x0f0000))
}

describe.each(['x64', 'arm64'] as const)('filters for %s', (host) => {
  it("decide as libseccomp's do, whatever the profile", () => {
    const values = fc.constantFrom(...LARGE, 4, 39, 2 ** 33).map(BigInt)
    const tries = fc.array(fc.array(values, { minLength: 6, maxLength: 6 }), { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(profiles(host), tries, (profile, lists) => {
        const theirs = library.compile(profile)
        const { program } = compileSeccomp(profile, host)
        for (const data of lists.flatMap((args) => questions(profile, host, args))) {
          const ours = runFilter(program, data).action
          const expected = runFilter(theirs, data).action
          if (ours === expected) continue
          // The one difference: calls newer than the profile, which libseccomp 2.5 leaves to its callers.
          if (ours === ENOSYS && data.nr > newestNamed(profile, data.arch)) continue
          const question = JSON.stringify({ ...data, args: data.args.map(String) })
          expect.fail(`${question}: ${ours.toString(16)}, libseccomp ${expected.toString(16)}`)
        }
      }),
      { numRuns: 60 },
    )
  })
})

/** What the rules of one call come to, read from the specification word by word. */
function naive(profile: OciSeccomp, name: string, args: readonly bigint[]): string {
  const action = (rule: { action: string; errnoRet?: number | undefined }) =>
    /ERRNO|TRACE/.test(rule.action)
      ? `${rule.action} ${rule.errnoRet ?? 1}`
      : rule.action.replace(/KILL$/, 'KILL_THREAD')
  const otherwise = action({ action: profile.defaultAction, errnoRet: profile.defaultErrnoRet })
  const rules = (profile.syscalls ?? []).filter((rule) => rule.names.includes(name) && action(rule) !== otherwise)
  const plain = rules.find((rule) => (rule.args ?? []).length === 0)
  if (plain) return action(plain)
  for (const rule of rules) {
    const list = rule.args ?? []
    const repeated = new Set(list.map(({ index }) => index)).size < list.length
    if (repeated ? list.some((arg) => holds(arg, args)) : list.every((arg) => holds(arg, args))) return action(rule)
  }
  return otherwise
}

function holds({ index, op, value, valueTwo }: OciSyscallArg, args: readonly bigint[]): boolean {
  const argument = args[index] ?? 0n
  const other = BigInt(value)
  switch (op) {
    case 'SCMP_CMP_NE':
      return argument !== other
    case 'SCMP_CMP_LT':
      return argument < other
    case 'SCMP_CMP_LE':
      return argument <= other
    case 'SCMP_CMP_EQ':
      return argument === other
    case 'SCMP_CMP_GE':
      return argument >= other
    case 'SCMP_CMP_GT':
      return argument > other
    default:
      return (argument & other) === BigInt(valueTwo ?? 0)
  }
}

const BASES: readonly [number, string][] = [
  [0x80000000, 'KILL_PROCESS'],
  [0x7fff0000, 'ALLOW'],
  [0x7ffc0000, 'LOG'],
  [0x7ff00000, 'TRACE'],
  [0x00050000, 'ERRNO'],
  [0x00030000, 'TRAP'],
  [0, 'KILL_THREAD'],
]

function worded(value: number): string {
  const [base, name] = BASES.find(([lowest]) => value >= lowest) ?? [0, '']
  return /ERRNO|TRACE/.test(name) ? `SCMP_ACT_${name} ${value - base}` : `SCMP_ACT_${name}`
}

describe('rules about one call', () => {
  it('mean what they say in any mix: the first that holds, or one without conditions', () => {
    const values = fc.constantFrom(...LARGE).map(BigInt)
    const arg = condition(LARGE).map((made) => ({ ...made, index: made.index % 3 }))
    const rule = fc.record({ head: action, args: fc.array(arg, { maxLength: 3 }) })
    fc.assert(
      fc.property(
        defaults,
        fc.array(rule, { maxLength: 6 }),
        fc.constantFrom(
          ['x64', 'x86_64', X86_64],
          ['x64', 'x86', X86],
          ['arm64', 'aarch64', AARCH64],
          ['arm64', 'arm', ARM],
        ) as fc.Arbitrary<['x64' | 'arm64', 'x86_64' | 'x86' | 'aarch64' | 'arm', number]>,
        fc.array(fc.array(values, { minLength: 3, maxLength: 3 }), { minLength: 8, maxLength: 8 }),
        (head, rules, [host, table, arch], lists) => {
          const profile: OciSeccomp = {
            ...head,
            architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_ARM'],
            syscalls: rules.map((made) => ({ ...made.head, names: ['openat'], args: made.args })),
          }
          const { program } = compileSeccomp(profile, host)
          const nr = syscallTable(table).get('openat') ?? -1
          for (const list of lists) {
            const args = table === 'x86' || table === 'arm' ? list.map((value) => value & 0xffffffffn) : list
            expect(worded(runFilter(program, { nr, arch, args }).action)).toBe(naive(profile, 'openat', args))
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
})
