import fc from 'fast-check'
import {
  ERRNO,
  OPS,
  type ErrnoName,
  type FdSlot,
  type FieldKind,
  type OpName,
  type Plan,
  type Pump,
  type Step,
} from '../../src/model/step.ts'

/** Text without NUL, in several scripts and lengths around the padding's 8 bytes. */
export const text = fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replaceAll('\0', '_'))
const NAMES = Array.from({ length: 12 }, (_, index): FdSlot => `fd:slot${index}`)
const number = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))

interface RawStep {
  readonly op: OpName
  readonly values: readonly unknown[]
  readonly tolerate: readonly ErrnoName[]
}

const rawStep: fc.Arbitrary<RawStep> = fc.constantFrom(...(Object.keys(OPS) as OpName[])).chain((op) =>
  fc.record({
    op: fc.constant(op),
    values: fc.tuple(...Object.values<FieldKind>(OPS[op].fields).map(valueOf)),
    tolerate: fc.uniqueArray(fc.constantFrom(...(Object.keys(ERRNO) as ErrnoName[])), { maxLength: 3 }),
  }),
)

function valueOf(kind: FieldKind): fc.Arbitrary<unknown> {
  switch (kind) {
    case 'u':
      return number
    case 's':
      return text
    case 'b':
      return fc.oneof(fc.uint8Array({ maxLength: 70 }), text)
    case 'v':
      return fc.array(text, { maxLength: 5 })
    case 'f':
    case 'o':
      return fc.nat(NAMES.length + 1)
    default:
      return kind satisfies never
  }
}

/** Plans of every op whose slots are filled before they are read. */
export const anyPlan: fc.Arbitrary<Plan> = fc
  .record({
    inherited: fc.nat(3),
    columns: fc.tuple(...[0, 1, 2].map(() => fc.array(rawStep, { maxLength: 12 }))),
    pumps: fc.array(fc.tuple(fc.nat(20), fc.nat(20), fc.constantFrom<Pump['kind']>('stdin', 'output', 'terminal-in')), {
      maxLength: 3,
    }),
    special: fc.tuple(fc.boolean(), fc.boolean()),
  })
  .map(({ inherited, columns, pumps, special }) => {
    const filled: FdSlot[] = NAMES.slice(0, inherited)
    const [parent = [], child = [], teardown = []] = columns.map((column) => column.map((raw) => toStep(raw, filled)))
    const pick = (index: number): FdSlot => filled[index % filled.length] as FdSlot
    const first = filled[0]
    return {
      parent,
      child,
      teardown,
      pumps: filled.length === 0 ? [] : pumps.map(([from, to, kind]) => ({ from: pick(from), to: pick(to), kind })),
      inherited: NAMES.slice(0, inherited),
      ...(special[0] && first !== undefined ? { cgroup: first } : {}),
      ...(special[1] && first !== undefined ? { mountNamespace: first, late: first } : {}),
    }
  })

function toStep({ op, values, tolerate }: RawStep, filled: FdSlot[]): Step {
  const fields = Object.entries<FieldKind>(OPS[op].fields).map(([field, kind], index) => {
    if (kind === 'f') return [field, readable(values[index] as number, filled)]
    if (kind !== 'o') return [field, values[index]]
    const slot = NAMES[(values[index] as number) % NAMES.length] as FdSlot
    if (!filled.includes(slot)) filled.push(slot)
    return [field, slot]
  })
  return { op, ...Object.fromEntries(fields), ...(tolerate.length > 0 ? { tolerate, because: 'a test' } : {}) } as Step
}

function readable(index: number, filled: readonly FdSlot[]): FdSlot | 'cwd' | 'none' {
  if (filled.length === 0 || index >= NAMES.length) return index % 2 === 0 ? 'cwd' : 'none'
  return filled[index % filled.length] as FdSlot
}
