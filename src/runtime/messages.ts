import { COLUMN_NAMES, type ColumnName } from '../model/step.ts'
import type { StepFailure } from '../plan/explain.ts'
import { errnoName } from '../syscall/errno.ts'

/** Datagrams between this process and the stage, as struct message of native/plan.h has them. */
export const MESSAGE_BYTES = 32
/** NOTE_BYTES of native/stage.h. */
export const MESSAGE_TEXT_BYTES = 1024
export const MESSAGE = {
  failed: 1,
  trace: 2,
  started: 3,
  exited: 4,
  meeting: 5,
  detached: 6,
  checked: 7,
  log: 8,
  released: 9,
  signal: 16,
  resize: 17,
  go: 18,
  attach: 19,
  stop: 20,
  changed: 21,
  check: 22,
  names: 24,
  follow: 23,
  plan: 25,
  soon: 26,
} as const

export interface Message {
  readonly type: number
  readonly column: ColumnName
  readonly step: number
  readonly error: number
  readonly a: bigint
  readonly b: bigint
  /** What a failed program said, up to MESSAGE_TEXT_BYTES of it; '' for other messages. */
  readonly text: string
}

/** Reads one message; the bytes may be used again afterwards. Throws RangeError on fewer than MESSAGE_BYTES. */
export function decodeMessage(bytes: Buffer): Message {
  return {
    type: bytes.readUInt32LE(0),
    column: COLUMN_NAMES[bytes.readUInt32LE(4)] ?? 'parent',
    step: bytes.readUInt32LE(8),
    error: bytes.readUInt32LE(12),
    a: bytes.readBigUInt64LE(16),
    b: bytes.readBigUInt64LE(24),
    text: bytes.toString('utf8', MESSAGE_BYTES),
  }
}

/** A message to the stage. */
export function encodeMessage(type: number, a = 0, b = 0): Buffer {
  const message = Buffer.alloc(MESSAGE_BYTES)
  message.writeUInt32LE(type, 0)
  message.writeBigUInt64LE(BigInt(a), 16)
  message.writeBigUInt64LE(BigInt(b), 24)
  return message
}

/** Whether the stage was kept off our processor until it reads this (its field `a`). */
export function writeElsewhere(message: Buffer, elsewhere: boolean): void {
  message.writeBigUInt64LE(elsewhere ? 1n : 0n, 16)
}

/** A message about a failed step, as explainFailure takes it. */
export function failureOf({ column, step, error, a, text }: Message): StepFailure {
  return { column, index: step, errno: errnoName(error), ...(a === 0n ? {} : { status: Number(a) }), output: text }
}
