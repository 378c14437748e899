import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OciSeccomp } from '../../src/model/config.ts'
import { loadKoffi } from '../../src/syscall/ffi.ts'

/** What the kernel shows a seccomp filter. */
export interface SeccompData {
  readonly nr: number
  readonly arch: number
  readonly args: readonly bigint[]
}

/** Runs classic BPF the way seccomp does; any instruction seccomp would refuse is an error. Also counts steps. */
export function runFilter(program: Buffer, { nr, arch, args }: SeccompData): { action: number; steps: number } {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(nr >>> 0, 0)
  data.writeUInt32LE(arch, 4)
  for (let index = 0; index < 6; index += 1) data.writeBigUInt64LE(args[index] ?? 0n, 16 + 8 * index)
  let accumulator = 0
  for (let at = 0, steps = 1; ; at += 1, steps += 1) {
    if (at * 8 >= program.length) throw new Error('ran off the end')
    const code = program.readUInt16LE(at * 8)
    const yes = program.readUInt8(at * 8 + 2)
    const no = program.readUInt8(at * 8 + 3)
    const k = program.readUInt32LE(at * 8 + 4)
    switch (code) {
      case 0x20:
        if (k > 60 || k % 4 !== 0) throw new Error(`load from ${k}`)
        accumulator = data.readUInt32LE(k)
        break
      case 0x54:
        accumulator = (accumulator & k) >>> 0
        break
      case 0x05:
        at += k
        break
      case 0x15:
        at += accumulator === k ? yes : no
        break
      case 0x25:
        at += accumulator > k ? yes : no
        break
      case 0x35:
        at += accumulator >= k ? yes : no
        break
      case 0x06:
        return { action: k, steps }
      default:
        throw new Error(`instruction ${code}`)
    }
  }
}

const ARCHES: Record<string, number> = {
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_ARM: 0x40000028,
}
const ACTIONS: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
}
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((name) => `SCMP_CMP_${name}`)

type Call = (...args: unknown[]) => number | bigint

/** libseccomp, driven as runc drives it. */
export function loadLibseccomp() {
  const library = loadKoffi().load('libseccomp.so.2')
  const call = (name: string, result: string, args: string[]) => library.func(name, result, args) as unknown as Call
  const init = call('seccomp_init', 'uint64', ['uint32'])
  const release = call('seccomp_release', 'void', ['uint64'])
  const archAdd = call('seccomp_arch_add', 'int', ['uint64', 'uint32'])
  const archRemove = call('seccomp_arch_remove', 'int', ['uint64', 'uint32'])
  const attribute = call('seccomp_attr_set', 'int', ['uint64', 'int', 'uint32'])
  const ruleAdd = call('seccomp_rule_add_array', 'int', ['uint64', 'uint32', 'int', 'uint', 'void*'])
  const exportBpf = call('seccomp_export_bpf', 'int', ['uint64', 'int'])
  const resolve = call('seccomp_syscall_resolve_name', 'int', ['str'])
  const resolveArch = call('seccomp_syscall_resolve_name_arch', 'int', ['uint32', 'str'])
  const resolveNumber = call('seccomp_syscall_resolve_num_arch', 'str', ['uint32', 'int'])

  const checked = (what: string, result: number | bigint) => {
    if (Number(result) < 0) throw new Error(`${what}: ${result}`)
  }

  function action(name: string, errnoRet: number | undefined): number {
    const base = ACTIONS[name] ?? Number.NaN
    return /ERRNO|TRACE/.test(name) ? base + (errnoRet ?? 1) : base
  }

  /** The profile compiled for the listed architectures, their first taken as the machine's own. */
  function compile(profile: OciSeccomp): Buffer {
    const directory = mkdtempSync(join(tmpdir(), 'oracle-'))
    const context = init(action(profile.defaultAction, profile.defaultErrnoRet))
    try {
      const arches = profile.architectures ?? []
      // A process of an ABI that is not listed: SCMP_FLTATR_ACT_BADARCH.
      checked('badarch', attribute(context, 2, 0x80000000))
      checked('optimize', attribute(context, 8, 2))
      for (const name of arches) if (name !== 'SCMP_ARCH_X86_64') checked('arch', archAdd(context, ARCHES[name]))
      if (!arches.includes('SCMP_ARCH_X86_64')) checked('remove', archRemove(context, ARCHES.SCMP_ARCH_X86_64))
      addRules(context, profile)
      const file = join(directory, 'bpf')
      const fd = openSync(file, 'w')
      checked('export', exportBpf(context, fd))
      closeSync(fd)
      return readFileSync(file)
    } finally {
      release(context)
      rmSync(directory, { recursive: true })
    }
  }

  function addRules(context: number | bigint, profile: OciSeccomp): void {
    const defaultAction = action(profile.defaultAction, profile.defaultErrnoRet)
    for (const rule of profile.syscalls ?? []) {
      const value = action(rule.action, rule.errnoRet)
      if (value === defaultAction) continue
      for (const name of rule.names) {
        const number = Number(resolve(name))
        if (number === -1) continue
        const args = rule.args ?? []
        const repeated = new Set(args.map((arg) => arg.index)).size < args.length
        for (const group of repeated ? args.map((arg) => [arg]) : [args]) {
          const packed = Buffer.alloc(24 * Math.max(1, group.length))
          group.forEach((arg, index) => {
            packed.writeUInt32LE(arg.index, 24 * index)
            packed.writeUInt32LE(OPERATORS.indexOf(arg.op) + 1, 24 * index + 4)
            packed.writeBigUInt64LE(BigInt(arg.value), 24 * index + 8)
            packed.writeBigUInt64LE(BigInt(arg.valueTwo ?? 0), 24 * index + 16)
          })
          const result = Number(ruleAdd(context, value, number, group.length, packed))
          // EDOM: a pseudo call with no number on any of the architectures.
          if (result < 0 && result !== -33) throw new Error(`rule ${name} ${JSON.stringify(group)}: ${result}`)
        }
      }
    }
  }

  return {
    compile,
    /** Whether this version of the library has heard of the call. */
    knows: (name: string) => Number(resolve(name)) !== -1,
    number: (arch: string, name: string) => Number(resolveArch(ARCHES[arch], name)),
    nameOf: (arch: string, number: number) => resolveNumber(ARCHES[arch], number) as unknown as string | null,
  }
}
