import { readFileSync } from 'node:fs'

/** native/plan.h as data: what the C side reads and writes. */
export interface PlanHeader {
  /** Op name -> code and signature, in the order of the file. */
  readonly ops: ReadonlyMap<string, { readonly code: number; readonly signature: string }>
  /** Macros and enumerators by name. */
  readonly numbers: ReadonlyMap<string, number>
  /** Struct name -> field name -> byte offset and size; an array's size is the whole array's. */
  readonly structs: ReadonlyMap<string, Layout>
}

export interface Layout {
  readonly size: number
  readonly fields: ReadonlyMap<string, { readonly offset: number; readonly size: number }>
}

const WIDTH: Readonly<Record<string, number>> = { uint16_t: 2, uint32_t: 4, uint64_t: 8 }

export function readPlanHeader(): PlanHeader {
  const text = readFileSync(new URL('../../native/plan.h', import.meta.url), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
  const ops = new Map(
    [...text.matchAll(/X\((\d+), (\w+), "(\w*)"\)/g)].map(
      ([, code, name, signature]) => [name ?? '', { code: Number(code), signature: signature ?? '' }] as const,
    ),
  )
  const numbers = new Map<string, number>()
  for (const [, name, value] of text.matchAll(/^#define (\w+) ([\w()<< ]+)$/gm))
    numbers.set(name ?? '', evaluate(value ?? ''))
  for (const [, body] of text.matchAll(/enum \w* ?\{([^}]*)\}/g)) addEnumerators(numbers, body ?? '')
  const structs = new Map(
    [...text.matchAll(/struct (\w+) \{([^}]*)\};/g)].map(
      ([, name, body]) => [name ?? '', layoutOf(body ?? '', numbers)] as const,
    ),
  )
  return { ops, numbers, structs }
}

/** `16u << 20`, `0x31u`, `3`. */
function evaluate(expression: string): number {
  const [first = Number.NaN, shift = 0] = expression
    .replaceAll(/[()]/g, '')
    .split('<<')
    .map((part) => Number(part.trim().replace(/u$/, '')))
  return first * 2 ** shift
}

function addEnumerators(numbers: Map<string, number>, body: string): void {
  let next = 0
  for (const entry of body.split(',').map((part) => part.trim())) {
    if (entry === '') continue
    const [name = '', value] = entry.split('=').map((part) => part.trim())
    next = value === undefined ? next : Number(value)
    numbers.set(name, next)
    next++
  }
}

/** Natural alignment, as every ABI that Linux has lays these types out. */
function layoutOf(body: string, numbers: ReadonlyMap<string, number>): Layout {
  const fields = new Map<string, { offset: number; size: number }>()
  let offset = 0
  let largest = 1
  for (const [, type, name, count] of body.matchAll(/(\w+) (\w+)(?:\[(\w+)\])?;/g)) {
    const width = WIDTH[type ?? '']
    if (width === undefined) throw new Error(`plan.h: a field of type ${type}`)
    const many = count === undefined ? 1 : (numbers.get(count) ?? Number(count))
    offset = Math.ceil(offset / width) * width
    fields.set(name ?? '', { offset, size: width * many })
    offset += width * many
    largest = Math.max(largest, width)
  }
  return { size: Math.ceil(offset / largest) * largest, fields }
}
