import type { OciDeviceRule } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'

/** BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_* (linux/bpf.h). */
const ACCESS = { m: 1, r: 2, w: 4 } as const
const ALL_ACCESS = 7
const DEVICE_TYPE = { b: 1, c: 2 } as const

/** Offsets in struct bpf_cgroup_dev_ctx. */
const CTX_ACCESS_TYPE = 0
const CTX_MAJOR = 4
const CTX_MINOR = 8

/** Opcodes of eBPF (linux/bpf_common.h, linux/bpf.h); 32-bit ones where values are 32 bits wide. */
const LDX_W = 0x61
const MOV32_X = 0xbc
const MOV32_K = 0xb4
const AND32_K = 0x54
const RSH32_K = 0x74
const JNE32_K = 0x56
const JSET32_K = 0x46
const JA = 0x05
const EXIT = 0x95

/** Registers: the answer, the context, and what of it the rules look at. */
const RESULT = 0
const CONTEXT = 1
const TYPE = 2
const WANTED = 3
const MAJOR = 4
const MINOR = 5

interface Instruction {
  readonly code: number
  readonly dst: number
  readonly src: number
  readonly offset: number
  readonly immediate: number
}

/** A rule with every wildcard resolved. */
interface Rule {
  readonly allow: boolean
  readonly type: number | undefined
  readonly major: number | undefined
  readonly minor: number | undefined
  readonly access: number
}

/** What every container may use, as in runc: any node may be made, and these opened. To go after all other rules. */
export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' }, // null
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }, // zero
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' }, // full
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' }, // random
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' }, // urandom
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' }, // tty
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' }, // console
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' }, // ptmx
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pseudo terminals
  { allow: true, type: 'c', major: 10, minor: 200, access: 'rwm' }, // net/tun
]

/**
 * The rules as an eBPF program (struct bpf_insn[], little endian) of type BPF_PROG_TYPE_CGROUP_DEVICE.
 *
 * Each kind of access (read, write, mknod) is decided by the last rule that covers it, refused if none does; a request
 * for several kinds is granted if all are. A rule without major or minor covers all; without access, every kind.
 * Throws INVALID_CONFIG for a rule that means nothing.
 */
export function compileDeviceFilter(rules: readonly OciDeviceRule[]): Buffer {
  const code: Instruction[] = [
    load(WANTED, CTX_ACCESS_TYPE),
    { code: MOV32_X, dst: TYPE, src: WANTED, offset: 0, immediate: 0 },
    constant(AND32_K, TYPE, 0xffff),
    constant(RSH32_K, WANTED, 16),
    load(MAJOR, CTX_MAJOR),
    load(MINOR, CTX_MINOR),
  ]
  for (const rule of rules.map(readRule).toReversed()) {
    const answer = ruleAnswer(rule)
    code.push(...withConditions(rule, answer))
    // Nothing gets past a rule that covers everything, and the verifier refuses code nothing can reach.
    if (coversAll(rule)) return encode(code)
  }
  return encode([...code, ...returns(false)])
}

/** What a rule does about a device it names: refuse, or strike its kinds off what is wanted and grant if none is left. */
function ruleAnswer(rule: Rule): Instruction[] {
  if (!rule.allow) {
    // JSET jumps where it has a bit in common, so over the jump that skips the answer.
    const answer = returns(false)
    if (rule.access === ALL_ACCESS) return answer
    return [jump(JSET32_K, WANTED, rule.access, 1), { ...constant(JA, 0, 0), offset: answer.length }, ...answer]
  }
  const answer = returns(true)
  if (rule.access === ALL_ACCESS) return answer
  const left = ALL_ACCESS & ~rule.access
  return [constant(AND32_K, WANTED, left), jump(JNE32_K, WANTED, 0, answer.length), ...answer]
}

function withConditions(rule: Rule, answer: readonly Instruction[]): Instruction[] {
  const code = [...answer]
  for (const [register, value] of [
    [MINOR, rule.minor],
    [MAJOR, rule.major],
    [TYPE, rule.type],
  ] as const) {
    if (value !== undefined) code.unshift(jump(JNE32_K, register, value, code.length))
  }
  return code
}

function coversAll(rule: Rule): boolean {
  return rule.type === undefined && rule.major === undefined && rule.minor === undefined && rule.access === ALL_ACCESS
}

function readRule({ allow, type = 'a', major, minor, access = 'rwm' }: OciDeviceRule): Rule {
  const bits = [...(access === '' ? 'rwm' : access)].map((letter) => {
    if (letter !== 'r' && letter !== 'w' && letter !== 'm')
      throw invalid(`access ${JSON.stringify(access)} is not of r, w, m`)
    return ACCESS[letter]
  })
  if (type !== 'a' && type !== 'b' && type !== 'c') throw invalid(`type ${JSON.stringify(type)} is not a, b or c`)
  return {
    allow,
    type: type === 'a' ? undefined : DEVICE_TYPE[type],
    major: deviceNumber('major', major),
    minor: deviceNumber('minor', minor),
    access: bits.reduce<number>((all, bit) => all | bit, 0),
  }
}

/** -1 is how some tools write a wildcard. */
function deviceNumber(what: string, value: number | undefined): number | undefined {
  if (value === undefined || value === -1) return undefined
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw invalid(`${what} ${value} is no device number`)
  return value
}

function invalid(reason: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `device rule: ${reason}`)
}

function load(dst: number, offset: number): Instruction {
  return { code: LDX_W, dst, src: CONTEXT, offset, immediate: 0 }
}

function constant(code: number, dst: number, immediate: number): Instruction {
  return { code, dst, src: 0, offset: 0, immediate }
}

/** Skips `offset` instructions where the comparison holds. */
function jump(code: number, dst: number, immediate: number, offset: number): Instruction {
  return { code, dst, src: 0, offset, immediate }
}

function returns(allowed: boolean): Instruction[] {
  return [constant(MOV32_K, RESULT, allowed ? 1 : 0), constant(EXIT, 0, 0)]
}

/** struct bpf_insn: 8 bits code, 4 destination, 4 source, 16 offset; 32 bits immediate. */
function encode(code: readonly Instruction[]): Buffer {
  const words = new Uint32Array(code.length * 2)
  let at = 0
  for (const { code: opcode, dst, src, offset, immediate } of code) {
    words[at++] = opcode | (dst << 8) | (src << 12) | (offset << 16)
    words[at++] = immediate
  }
  return Buffer.from(words.buffer)
}
