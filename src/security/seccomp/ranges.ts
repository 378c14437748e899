import { type Assembler, JEQ, JGE, type Label } from './assembler.ts'

/** From `start` (inclusive) up to the next range's, the answer is `value`; the first range starts at 0. */
export interface Range<Value> {
  readonly start: number
  readonly value: Value
}

/** A leaf of the search: `value`, but for single numbers that are tested one by one. */
interface Leaf<Value> {
  readonly start: number
  readonly value: Value
  readonly exceptions: readonly Range<Value>[]
}

/** More single tests in a row than this would cost a call more than another step of the search saves in size. */
const MAX_EXCEPTIONS = 6

const SMALL_NUMBERS = 512

/**
 * Code that finds the range the accumulator lies in and goes on at its label: a balanced binary search whose leaves
 * are ranges pierced by single numbers, which take one instruction where two more ranges would take two.
 * `last` is the highest number the accumulator can hold.
 */
export function emitSearch<Value>(
  code: Assembler,
  ranges: readonly Range<Value>[],
  last: number,
  labelOf: (value: Value) => Label,
): Label {
  const leaves = makeLeaves(ranges, last)
  return search(0, leaves.length)

  function search(from: number, to: number): Label {
    const leaf = leaves[from]
    if (leaf === undefined) throw new Error('a search over no ranges')
    if (to - from === 1) return emitLeaf(code, leaf, labelOf)
    const middle = (from + to) >> 1
    const right = search(middle, to)
    const left = search(from, middle)
    return code.jump(JGE, leaves[middle]?.start ?? 0, right, left)
  }
}

function emitLeaf<Value>(code: Assembler, leaf: Leaf<Value>, labelOf: (value: Value) => Label): Label {
  let label = labelOf(leaf.value)
  for (const { start, value } of leaf.exceptions) label = code.jump(JEQ, start, labelOf(value), label)
  return label
}

/** The division into leaves with the fewest instructions, by dynamic programming from the last range to the first. */
function makeLeaves<Value>(ranges: readonly Range<Value>[], last: number): Leaf<Value>[] {
  const count = ranges.length
  const single = ranges.map(({ start }, index) => (ranges[index + 1]?.start ?? last + 1) - start === 1)
  /** Fewest instructions from a range to the end; which range follows its leaf; which range gives the leaf its value. */
  const cost = Array.from({ length: count + 1 }, () => 0)
  const end = Array.from({ length: count }, () => count)
  const base = Array.from({ length: count }, () => 0)
  for (let from = count - 1; from >= 0; from -= 1) {
    cost[from] = Number.POSITIVE_INFINITY
    for (let chosen = from; chosen <= from + 1 && chosen < count; chosen += 1) {
      const value = ranges[chosen]?.value
      let exceptions = 0
      for (let to = from; to < count; to += 1) {
        if (ranges[to]?.value !== value) {
          exceptions += 1
          if (exceptions > MAX_EXCEPTIONS || !single[to]) break
        }
        const total = exceptions + 1 + (cost[to + 1] ?? 0)
        if (total < (cost[from] ?? 0)) {
          cost[from] = total
          end[from] = to + 1
          base[from] = chosen
        }
      }
    }
  }
  const leaves: Leaf<Value>[] = []
  for (let from = 0; from < count; from = end[from] ?? count) {
    const inside = ranges.slice(from, end[from])
    const { value } = ranges[base[from] ?? from] as Range<Value>
    leaves.push({ start: inside[0]?.start ?? 0, value, exceptions: inside.filter((range) => range.value !== value) })
  }
  return leaves
}

/** `entries` (number -> answer) over a background of `otherwise`, neighbours of one answer joined. */
export function joinRanges<Value>(
  entries: ReadonlyMap<number, Value>,
  background: readonly Range<Value>[],
): Range<Value>[] {
  const numbers: number[] = []
  // Nearly all numbers are small; asking for each in turn is cheaper than sorting them once.
  for (let number = 0; number < SMALL_NUMBERS; number += 1) if (entries.has(number)) numbers.push(number)
  numbers.push(...[...entries.keys()].filter((number) => number >= SMALL_NUMBERS).sort((one, other) => one - other))
  const joined: Range<Value>[] = []
  let level = 0
  let reached = 0
  const add = (start: number, value: Value): void => {
    if (joined.at(-1)?.value !== value) joined.push({ start, value })
  }
  /** The background from `reached` up to `limit`. */
  const fill = (limit: number): void => {
    while (reached < limit) {
      while ((background[level + 1]?.start ?? Number.POSITIVE_INFINITY) <= reached) level += 1
      const range = background[level]
      if (range === undefined) throw new Error('a background without a first range')
      add(reached, range.value)
      reached = Math.min(limit, background[level + 1]?.start ?? limit)
    }
  }
  for (const number of numbers) {
    fill(number)
    add(number, entries.get(number) as Value)
    reached = number + 1
  }
  fill(2 ** 32)
  return joined
}
