/** Opcodes of classic BPF, only those the kernel's table of always-allowed calls can follow (kernel/seccomp.c, 5.11). */
const LD_W_ABS = 0x20
const ALU_AND_K = 0x54
const JMP_JA = 0x05
const RET_K = 0x06
export const JEQ = 0x15
export const JGT = 0x25
export const JGE = 0x35
export type Jump = typeof JEQ | typeof JGT | typeof JGE

/** Offsets in struct seccomp_data. */
export const NR_OFFSET = 0
export const ARCH_OFFSET = 4
export const ARGS_OFFSET = 16

/** A conditional jump counts its targets in one byte. */
const REACH = 255
/** BPF_MAXINSNS of linux/bpf_common.h. */
const MAX_INSTRUCTIONS = 4096

/** A place to jump to: how many instructions lie from it to the end of the program. */
export type Label = number

/**
 * A classic BPF program, put together from its last instruction to its first: every target is then known when a jump
 * to it is written, and the one-byte reach of conditional jumps is bridged at once where it falls short.
 */
export interface Assembler {
  /** `return value`, possibly one written before that is still in reach. */
  ret(value: number): Label
  /** Compare the accumulator with `k` and go on at one of two places. */
  jump(operator: Jump, k: number, then: Label, otherwise: Label): Label
  /** Accumulator = the 32 bits at `offset`, then `next`. */
  load(offset: number, next: Label): Label
  /** Accumulator &= `mask`, then `next`. */
  and(mask: number, next: Label): Label
  readonly length: number
  /** The finished struct sock_filter array, 8 bytes an instruction, little endian, starting at the newest label. */
  toBuffer(): Buffer
}

/** An empty program; `toBuffer` throws RangeError past the kernel's 4096 instructions. */
export function assembler(): Assembler {
  // Three parallel columns, newest instruction last.
  const codes: number[] = []
  const targets: number[] = []
  const operands: number[] = []
  const returns = new Map<number, Label>()

  function emit(code: number, target: number, operand: number): Label {
    codes.push(code)
    targets.push(target)
    operands.push(operand)
    return codes.length
  }

  function ret(value: number): Label {
    const known = returns.get(value)
    if (known !== undefined && codes.length - known < REACH - 2) return known
    const label = emit(RET_K, 0, value)
    returns.set(value, label)
    return label
  }

  /** A place that means `label` and that the next two instructions can both reach. */
  function near(label: Label): Label {
    if (codes.length + 1 - label <= REACH) return label
    // The operand of JA is a distance: instructions between it and its target.
    const value = codes[label - 1] === RET_K ? operands[label - 1] : undefined
    return value === undefined ? emit(JMP_JA, 0, codes.length - label) : ret(value)
  }

  /** Straight-line code reaches the following instruction only. */
  function next(label: Label): void {
    if (label !== codes.length) emit(JMP_JA, 0, codes.length - label)
  }

  return {
    ret,
    jump(operator, k, then, otherwise) {
      const first = near(then)
      const second = near(otherwise)
      return emit(operator, (codes.length - first) | ((codes.length - second) << 8), k)
    },
    load(offset, label) {
      next(label)
      return emit(LD_W_ABS, 0, offset)
    },
    and(mask, label) {
      next(label)
      return emit(ALU_AND_K, 0, mask)
    },
    get length() {
      return codes.length
    },
    toBuffer() {
      const count = codes.length
      if (count > MAX_INSTRUCTIONS) throw new RangeError(`a filter of ${count} instructions`)
      const buffer = Buffer.alloc(count * 8)
      for (let index = 0; index < count; index += 1) {
        const from = count - 1 - index
        const at = index * 8
        buffer.writeUInt16LE(codes[from] ?? 0, at)
        buffer.writeUInt16LE(targets[from] ?? 0, at + 2)
        buffer.writeUInt32LE(operands[from] ?? 0, at + 4)
      }
      return buffer
    },
  }
}
