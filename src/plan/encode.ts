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
export const PLAN_FLAGS = { trace: 1, monitor: 2 } as const
const SLOT_NONE = 0xffffffff
const SLOT_CWD = 0xfffffffe
const HEADER_BYTES = 40
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
  const flags = (options.monitor ? PLAN_FLAGS.monitor : 0) | (options.trace ? PLAN_FLAGS.trace : 0)
  const header = [
    MAGIC,
    flags,
    writer.slots.size,
    plan.inherited.length,
    ...COLUMN_NAMES.map((column) => plan[column].length),
    plan.pumps.length,
    plan.cgroup === undefined ? SLOT_NONE : writer.slot(plan.cgroup, 'f'),
    plan.mountNamespace === undefined ? SLOT_NONE : writer.slot(plan.mountNamespace, 'f'),
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

class Writer {
  readonly slots = new Map<string, number>()
  #bytes = Buffer.alloc(16 * 1024)
  #at = 0

  constructor(inherited: readonly FdSlot[]) {
    for (const slot of inherited) this.slots.set(slot, this.slots.size)
  }

  reserve(size: number): number {
    const at = this.#at
    this.#at += size
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#at + 4096))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }

  slot(name: FdSlot | 'cwd' | 'none', kind: 'f' | 'o'): number {
    if (name === 'none') return SLOT_NONE
    if (name === 'cwd') return SLOT_CWD
    const known = this.slots.get(name)
    if (known !== undefined) return known
    if (kind === 'f') throw new RangeError(`plan: ${name} is read before any step fills it`)
    if (this.slots.size >= MAX_SLOTS) throw new RangeError(`plan: more than ${MAX_SLOTS} slots`)
    this.slots.set(name, this.slots.size)
    return this.slots.size - 1
  }

  step(step: Step): void {
    const op = OPS[step.op]
    const head = this.reserve(STEP_BYTES)
    const values = step as unknown as Readonly<Record<string, never>>
    for (const [field, kind] of fieldsOf(step.op)) this.#argument(kind, values[field] as never)
    this.#bytes.writeUInt16LE(op.code, head)
    const tolerated = step.tolerate ?? []
    if (tolerated.length > 3) throw new RangeError('plan: at most three errnos are tolerated')
    tolerated.forEach((name, index) => this.#bytes.writeUInt16LE(ERRNO[name], head + 2 + 2 * index))
    this.#bytes.writeUInt32LE(this.#at - head - STEP_BYTES, head + 8)
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
    // First the room: it may move the bytes.
    const at = this.reserve(8)
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 0)) {
      throw new RangeError(`plan: ${value} is not a number that a register holds`)
    }
    if (typeof value === 'bigint' || value > 0xffffffff) this.#bytes.writeBigUInt64LE(BigInt(value), at)
    else this.#bytes.writeUInt32LE(value, at)
  }

  /** Length, text, at least one NUL, padding to 8. A NUL inside would cut the text short in C: refused. */
  #text(text: string): void {
    if (text.includes('\0')) throw new RangeError(`plan: a NUL byte in ${JSON.stringify(text)}`)
    const length = Buffer.byteLength(text)
    this.#number(length)
    const at = this.reserve((length + 8) & ~7)
    this.#bytes.write(text, at)
  }

  #blob(bytes: Uint8Array): void {
    this.#number(bytes.length)
    const at = this.reserve((bytes.length + 8) & ~7)
    this.#bytes.set(bytes, at)
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
    this.#bytes.writeUInt32LE(this.slot(pump.from, 'f'), at)
    this.#bytes.writeUInt32LE(this.slot(pump.to, 'f'), at + 4)
    this.#bytes.writeUInt32LE(PUMP_FLAGS[pump.kind], at + 8)
  }

  finish(header: readonly number[]): Buffer {
    header.forEach((value, index) => this.#bytes.writeUInt32LE(value >>> 0, 4 * index))
    return this.#bytes.subarray(0, this.#at)
  }
}
