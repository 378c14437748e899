import { ARGS_OFFSET, type Assembler, JEQ, JGE, JGT, type Label } from './assembler.ts'
import type { Condition, Conditional, Rule } from './conditions.ts'
import { emitSearch, type Range } from './ranges.ts'

const WORD = 2 ** 32

/**
 * Code that decides by a call's arguments. `narrow` is for 32-bit ABIs, where the kernel leaves the upper half of
 * every argument zero, so that it need not be looked at.
 */
export function emitConditional(code: Assembler, conditional: Conditional, narrow: boolean): Label {
  const pieces = asPieces(conditional)
  if (pieces !== undefined) return emitPieces(code, pieces, narrow)
  let next = code.ret(conditional.otherwise)
  for (const rule of conditional.rules.toReversed()) next = emitRule(code, rule, next, narrow)
  return next
}

function emitRule(code: Assembler, rule: Rule, otherwise: Label, narrow: boolean): Label {
  let label = code.ret(rule.action)
  for (const condition of rule.conditions.toReversed()) label = emitCondition(code, condition, label, otherwise, narrow)
  return label
}

/** The 64-bit comparison as one of the upper and one of the lower 32 bits. */
function emitCondition(code: Assembler, condition: Condition, yes: Label, no: Label, narrow: boolean): Label {
  const { index, operator, value, mask } = condition
  switch (operator) {
    case 'EQ':
      return emitOrder(code, index, value, JEQ, yes, no, narrow)
    case 'NE':
      return emitOrder(code, index, value, JEQ, no, yes, narrow)
    case 'GE':
      return emitOrder(code, index, value, JGE, yes, no, narrow)
    case 'LT':
      return emitOrder(code, index, value, JGE, no, yes, narrow)
    case 'GT':
      return emitOrder(code, index, value, JGT, yes, no, narrow)
    case 'LE':
      return emitOrder(code, index, value, JGT, no, yes, narrow)
    case 'MASKED_EQ': {
      const low = emitMasked(code, index, lowHalf(value), lowHalf(mask), 'low', yes, no)
      if (narrow) return highHalf(value) === 0 ? low : no
      return emitMasked(code, index, highHalf(value), highHalf(mask), 'high', low, no)
    }
    default:
      return operator satisfies never
  }
}

function emitOrder(
  code: Assembler,
  index: number,
  value: bigint,
  operator: typeof JEQ | typeof JGE | typeof JGT,
  yes: Label,
  no: Label,
  narrow: boolean,
): Label {
  const high = highHalf(value)
  if (narrow && high > 0) return no
  const low = code.load(lowWord(index), code.jump(operator, lowHalf(value), yes, no))
  if (narrow) return low
  const equal = code.jump(JEQ, high, low, no)
  return code.load(highWord(index), operator === JEQ ? equal : code.jump(JGT, high, yes, equal))
}

function emitMasked(
  code: Assembler,
  index: number,
  value: number,
  mask: number,
  half: 'low' | 'high',
  yes: Label,
  no: Label,
): Label {
  if ((value & ~mask) !== 0) return no
  if (mask === 0) return yes
  const compare = code.jump(JEQ, value, yes, no)
  const offset = half === 'low' ? lowWord(index) : highWord(index)
  return code.load(offset, mask === WORD - 1 ? compare : code.and(mask, compare))
}

/** One argument's number line cut into ranges of one action each; `beyond` is for values of 2^32 and up. */
interface Pieces {
  readonly index: number
  readonly ranges: readonly Range<number>[]
  readonly beyond: number
}

/** Rules that all compare the same argument with small numbers, as lists of allowed values do; else undefined. */
function asPieces({ rules, otherwise }: Conditional): Pieces | undefined {
  const index = rules[0]?.conditions[0]?.index
  if (index === undefined) return undefined
  // The answer can change only where a comparison's own value begins or ends.
  const edges = [0, WORD]
  for (const { conditions } of rules) {
    const [condition] = conditions
    if (condition === undefined || conditions.length > 1 || condition.index !== index) return undefined
    if (condition.operator === 'MASKED_EQ' || highHalf(condition.value) > 0) return undefined
    edges.push(lowHalf(condition.value), lowHalf(condition.value) + 1)
  }
  edges.sort((one, other) => one - other)
  const ranges: Range<number>[] = []
  let last: number | undefined
  for (const start of edges) {
    const action = rules.find(
      ({ conditions: [condition] }) => condition !== undefined && holds(condition, start),
    )?.action
    const value = action ?? otherwise
    if (start === WORD) return { index, ranges, beyond: value }
    if (value !== last) ranges.push({ start, value })
    last = value
  }
  return undefined
}

/** Only for values below 2^32. */
function holds({ operator, value: exact }: Condition, argument: number): boolean {
  const value = lowHalf(exact)
  switch (operator) {
    case 'EQ':
      return argument === value
    case 'NE':
      return argument !== value
    case 'LT':
      return argument < value
    case 'LE':
      return argument <= value
    case 'GE':
      return argument >= value
    case 'GT':
      return argument > value
    case 'MASKED_EQ':
      throw new Error('a mask has no order')
    default:
      return operator satisfies never
  }
}

function emitPieces(code: Assembler, { index, ranges, beyond }: Pieces, narrow: boolean): Label {
  const search = emitSearch(code, ranges, WORD - 1, (action) => code.ret(action))
  const low = code.load(lowWord(index), search)
  return narrow ? low : code.load(highWord(index), code.jump(JEQ, 0, low, code.ret(beyond)))
}

function lowHalf(value: bigint): number {
  return Number(value & 0xffffffffn)
}

function highHalf(value: bigint): number {
  return Number(value >> 32n)
}

/** Both processors are little endian. */
function lowWord(index: number): number {
  return ARGS_OFFSET + 8 * index
}

function highWord(index: number): number {
  return lowWord(index) + 4
}
