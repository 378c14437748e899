import { TscrunError } from '../model/errors.ts'
import {
  COLUMN_NAMES,
  ERRNO,
  OPS,
  type FdSlot,
  type FieldKind,
  type OpName,
  type Plan,
  type Pump,
  type Step,
} from '../model/step.ts'

/** PLAN_MAGIC, flags and sizes of native/plan.h. */
const MAGIC = 0x31525354
export const PLAN_FLAGS = { trace: 1, monitor: 2, held: 4 } as const
const SLOT_NONE = 0xffffffff
const SLOT_CWD = 0xfffffffe
const HEADER_BYTES = 48
const STEP_BYTES = 16
const PUMP_BYTES = 16
const PUMP_FLAGS = { output: 0, error: 4, stdin: 1, 'terminal-in': 3 } as const satisfies Record<Pump['kind'], number>
const MAX_SLOTS = 2048

export interface EncodeOptions {
  /** The stage stays as monitor and supervises. */
  readonly monitor: boolean
  /** Each step is told as it is done. */
  readonly trace: boolean
}

/** The plan as native/stage.c reads it. Throws RangeError on a slot that is read but never filled, or on too many. */
export function encodePlan(plan: Plan, options: EncodeOptions): Buffer {
  const writer = new Writer(plan.inherited)
  writer.reserve(HEADER_BYTES)
  for (const column of COLUMN_NAMES) for (const step of plan[column]) writer.step(step)
  for (const pump of plan.pumps) writer.pump(pump)
  const flags =
    (options.monitor ? PLAN_FLAGS.monitor : 0) |
    (options.trace ? PLAN_FLAGS.trace : 0) |
    (plan.held === true ? PLAN_FLAGS.held : 0)
  const header = [
    MAGIC,
    flags,
    writer.slots.size,
    plan.inherited.length,
    ...COLUMN_NAMES.map((column) => plan[column].length),
    plan.pumps.length,
    plan.cgroup === undefined ? SLOT_NONE : writer.slot(plan.cgroup, 'f'),
    plan.mountNamespace === undefined ? SLOT_NONE : writer.slot(plan.mountNamespace, 'f'),
    plan.late === undefined ? SLOT_NONE : writer.slot(plan.late, 'f'),
  ]
  return writer.finish(header)
}

const FIELDS = new Map<OpName, readonly (readonly [field: string, kind: FieldKind])[]>()

/** The fields of an op in order, listed once. */
function fieldsOf(op: OpName): readonly (readonly [field: string, kind: FieldKind])[] {
  let fields = FIELDS.get(op)
  if (fields === undefined) {
    fields = Object.entries<FieldKind>(OPS[op].fields)
    FIELDS.set(op, fields)
  }
  return fields
}

/**
 * Writes 32-bit words into memory that grows. All of a plan is padded to 8 bytes and little endian, as both processors are:
 * so a number is one store, where each of Buffer's own methods would be three calls, 1.5 ms in a process that just began.
 */
class Writer {
  readonly slots = new Map<string, number>()
  #bytes = Buffer.alloc(32 * 1024)
  #words = wordsOf(this.#bytes)
  /** In words. */
  #at = 0

  constructor(inherited: readonly FdSlot[]) {
    for (const slot of inherited) this.slots.set(slot, this.slots.size)
  }

  /** Answers where the room begins, in words; it is zero. */
  reserve(size: number): number {
    const at = this.#at
    this.#room(size)
    this.#at = at + size / 4
    return at
  }

  /** Makes sure that so many bytes follow. */
  #room(size: number): void {
    const needed = 4 * this.#at + size
    if (needed <= this.#bytes.length) return
    const larger = Buffer.alloc(Math.max(this.#bytes.length * 2, needed + 4096))
    this.#bytes.copy(larger, 0, 0, 4 * this.#at)
    this.#bytes = larger
    this.#words = wordsOf(larger)
  }

  slot(name: FdSlot | 'cwd' | 'none', kind: 'f' | 'o'): number {
    if (name === 'none') return SLOT_NONE
    if (name === 'cwd') return SLOT_CWD
    const known = this.slots.get(name)
    if (known !== undefined) return known
    if (kind === 'f') throw new RangeError(`plan: ${name} is read before any step fills it`)
    if (this.slots.size >= MAX_SLOTS) {
      throw new TscrunError('LIMIT_EXCEEDED', `plan: more than ${MAX_SLOTS} slots`, {
        hint: 'each mount takes one: are there so many?',
      })
    }
    this.slots.set(name, this.slots.size)
    return this.slots.size - 1
  }

  step(step: Step): void {
    const head = this.reserve(STEP_BYTES)
    const values = step as unknown as Readonly<Record<string, never>>
    for (const [field, kind] of fieldsOf(step.op)) this.#argument(kind, values[field] as never)
    this.#words[head] = OPS[step.op].code
    if (step.tolerate !== undefined) this.#tolerate(head, step.tolerate)
    this.#words[head + 2] = 4 * (this.#at - head) - STEP_BYTES
  }

  /** Three 16-bit numbers behind the op's, two a word. */
  #tolerate(head: number, names: NonNullable<Step['tolerate']>): void {
    if (names.length > 3) throw new RangeError('plan: at most three errnos are tolerated')
    const [first = 0, second = 0, third = 0] = names.map((name) => ERRNO[name])
    this.#words[head] = (this.#words[head] ?? 0) | (first << 16)
    this.#words[head + 1] = second | (third << 16)
  }

  #argument(kind: FieldKind, value: never): void {
    switch (kind) {
      case 'u':
        this.#number(value)
        return
      case 'f':
      case 'o':
        this.#number(this.slot(value, kind))
        return
      case 's':
        this.#text(value)
        return
      case 'b':
        if (typeof value === 'string') this.#blob(Buffer.from(value))
        else this.#blob(value)
        return
      case 'v':
        this.#list(value)
        return
      default:
        kind satisfies never
    }
  }

  #number(value: number | bigint): void {
    const at = this.reserve(8)
    if (typeof value === 'number') {
      if (!(Number.isSafeInteger(value) && value >= 0)) {
        throw new RangeError(`plan: ${value} is not a number that a register holds`)
      }
      this.#words[at] = value
      if (value > 0xffffffff) this.#words[at + 1] = value / 2 ** 32
      return
    }
    if (value < 0n || value >> 64n !== 0n) throw new RangeError(`plan: ${value} is not a number that a register holds`)
    this.#words[at] = Number(value & 0xffffffffn)
    this.#words[at + 1] = Number(value >> 32n)
  }

  /** Length, text, at least one NUL, padding to 8. A NUL inside would cut the text short in C: refused. */
  #text(text: string): void {
    if (text.includes('\0')) throw new RangeError(`plan: a NUL byte in ${JSON.stringify(text)}`)
    // A UTF-16 unit becomes at most three bytes.
    this.#room(24 + 3 * text.length)
    const at = this.reserve(8)
    const length = this.#bytes.write(text, 4 * this.#at)
    this.#words[at] = length
    this.reserve((length + 8) & ~7)
  }

  #blob(bytes: Uint8Array): void {
    this.#number(bytes.length)
    const at = this.reserve((bytes.length + 8) & ~7)
    this.#bytes.set(bytes, 4 * at)
  }

  /** Length, count, the texts with a NUL behind each. */
  #list(texts: readonly string[]): void {
    if (texts.some((text) => text.includes('\0'))) throw new RangeError('plan: a NUL byte in a list of texts')
    const joined = texts.map((text) => `${text}\0`).join('')
    const bytes = Buffer.alloc(8 + Buffer.byteLength(joined))
    bytes.writeUInt32LE(texts.length)
    bytes.write(joined, 8)
    this.#blob(bytes)
  }

  pump(pump: Pump): void {
    const at = this.reserve(PUMP_BYTES)
    this.#words[at] = this.slot(pump.from, 'f')
    this.#words[at + 1] = this.slot(pump.to, 'f')
    this.#words[at + 2] = PUMP_FLAGS[pump.kind]
  }

  finish(header: readonly number[]): Buffer {
    this.#words.set(header)
    return this.#bytes.subarray(0, 4 * this.#at)
  }
}

function wordsOf(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}
