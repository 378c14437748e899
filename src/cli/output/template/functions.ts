import { closest } from '../../../model/closest.ts'
import { TemplateError } from './error.ts'

/** Go's fmt verb `%v`: `[a b]` for lists, `map[a:b]` for maps, `<no value>` for nothing. */
export function formatValue(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(formatValue).join(' ')}]`
  if (typeof value !== 'object') return typeof value === 'string' ? value : JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `map[${entries.map(([key, item]) => `${key}:${formatValue(item)}`).join(' ')}]`
}

/** Empty values are false: zero, empty strings, lists and maps, nothing. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

/** Throws TemplateError for an unknown function or arguments it cannot take. */
export function callFunction(name: string, args: readonly unknown[]): unknown {
  const call = FUNCTIONS.get(name)
  if (call !== undefined) return call(args, name)
  const near = closest(name, FUNCTIONS.keys())
  throw new TemplateError(`unknown function ${name}${near === undefined ? '' : `, did you mean ${near}?`}`)
}

type Function = (args: readonly unknown[], name: string) => unknown

const FUNCTIONS: ReadonlyMap<string, Function> = new Map<string, Function>([
  // What docker adds to Go's own.
  ['json', ([value]) => JSON.stringify(value ?? null)],
  ['lower', ([text], name) => string(text, name).toLowerCase()],
  ['upper', ([text], name) => string(text, name).toUpperCase()],
  ['title', ([text], name) => string(text, name).replace(/(^|\s)\p{Ll}/gu, (letter) => letter.toUpperCase())],
  ['join', ([list, separator], name) => array(list, name).map(formatValue).join(string(separator, name))],
  ['split', ([text, separator], name) => string(text, name).split(string(separator, name))],
  ['truncate', ([text, length], name) => [...string(text, name)].slice(0, number(length, name)).join('')],
  ['pad', ([text, before, after], name) => pad(string(text, name), number(before, name), number(after, name))],
  // Go's.
  ['len', ([value], name) => lengthOf(value, name)],
  ['index', ([value, ...keys]) => keys.reduce(indexInto, value)],
  [
    'slice',
    ([value, from = 0, to], name) =>
      sliceOf(value, number(from, name), to === undefined ? undefined : number(to, name)),
  ],
  ['print', printValues],
  ['println', (args) => `${args.map(formatValue).join(' ')}\n`],
  ['printf', ([format, ...args], name) => formatVerbs(string(format, name), args)],
  ['not', ([value]) => !isTrue(value)],
  ['and', (args) => firstOrLast(args, (value) => !isTrue(value))],
  ['or', (args) => firstOrLast(args, isTrue)],
  ['eq', ([first, ...others]) => others.some((other) => other === first)],
  ['ne', ([a, b]) => a !== b],
  ['lt', ([a, b], name) => compare(a, b, name) < 0],
  ['le', ([a, b], name) => compare(a, b, name) <= 0],
  ['gt', ([a, b], name) => compare(a, b, name) > 0],
  ['ge', ([a, b], name) => compare(a, b, name) >= 0],
])

/** Go's Sprint: a blank between two values of which neither is a string. */
function printValues(args: readonly unknown[]): string {
  return args
    .map((value, index) => {
      const glued = index === 0 || typeof value === 'string' || typeof args[index - 1] === 'string'
      return `${glued ? '' : ' '}${formatValue(value)}`
    })
    .join('')
}

function firstOrLast(args: readonly unknown[], wanted: (value: unknown) => boolean): unknown {
  const at = args.findIndex(wanted)
  return at < 0 ? args.at(-1) : args[at]
}

function string(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  throw new TemplateError(`${name}: ${formatValue(value)} is no string`)
}

function number(value: unknown, name: string): number {
  if (typeof value === 'number') return value
  throw new TemplateError(`${name}: ${formatValue(value)} is no number`)
}

function array(value: unknown, name: string): readonly unknown[] {
  if (value === null || value === undefined) return []
  if (Array.isArray(value)) return value
  throw new TemplateError(`${name}: ${formatValue(value)} is no list`)
}

function pad(text: string, before: number, after: number): string {
  return text === ''
    ? ''
    : `${' '.repeat(Math.max(0, Math.min(before, 1000)))}${text}${' '.repeat(Math.max(0, Math.min(after, 1000)))}`
}

function lengthOf(value: unknown, name: string): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (Array.isArray(value)) return value.length
  if (typeof value === 'object' && value !== null) return Object.keys(value).length
  throw new TemplateError(`${name}: ${formatValue(value)} has no length`)
}

function indexInto(value: unknown, key: unknown): unknown {
  if (Array.isArray(value)) {
    const item: unknown = typeof key === 'number' ? value.at(key) : undefined
    if (item === undefined || Number(key) < 0) throw new TemplateError(`index: ${formatValue(key)} is out of range`)
    return item
  }
  if (typeof value === 'object' && value !== null) {
    // A missing key of a map of strings is the empty string in Go.
    return Object.hasOwn(value, String(key)) ? (value as Record<string, unknown>)[String(key)] : ''
  }
  throw new TemplateError(`index: ${formatValue(value)} has no items`)
}

function sliceOf(value: unknown, from: number, to: number | undefined): unknown {
  const whole = typeof value === 'string' ? value : array(value, 'slice')
  if (from < 0 || from > whole.length || (to !== undefined && (to < from || to > whole.length))) {
    throw new TemplateError('slice: out of range')
  }
  return whole.slice(from, to)
}

function compare(a: unknown, b: unknown, name: string): number {
  const comparable =
    (typeof a === 'number' && typeof b === 'number') || (typeof a === 'string' && typeof b === 'string')
  if (!comparable) throw new TemplateError(`${name}: ${formatValue(a)} and ${formatValue(b)} do not compare`)
  return a < b ? -1 : a > b ? 1 : 0
}

/** printf with the verbs s v d q t x f and %, their width, precision, `-` and `0`. */
function formatVerbs(format: string, args: readonly unknown[]): string {
  let used = 0
  return format.replace(
    /%([-0]*)([0-9]{0,3})(?:\.([0-9]{1,2}))?(.)/gs,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%'
      if (used >= args.length) return `%!${verb}(MISSING)`
      const text = formatVerb(verb, args[used++], precision === undefined ? undefined : Number(precision))
      if (flags.includes('-')) return text.padEnd(Number(width))
      return text.padStart(Number(width), flags.includes('0') ? '0' : ' ')
    },
  )
}

function formatVerb(verb: string, value: unknown, precision: number | undefined): string {
  const text = formatValue(value)
  if (verb === 'q') return JSON.stringify(text)
  if (verb === 's' || verb === 'v') return precision === undefined ? text : [...text].slice(0, precision).join('')
  if (verb === 'f' && typeof value === 'number') return value.toFixed(precision ?? 6)
  if (verb === 'x') return typeof value === 'number' ? value.toString(16) : Buffer.from(text).toString('hex')
  if ((verb === 'd' && Number.isInteger(value)) || (verb === 't' && typeof value === 'boolean')) return text
  return `%!${verb}(${text})`
}
