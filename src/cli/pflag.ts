import type { Flag } from './flags/flag.ts'

/**
 * Rewrites argv by the rules of Go's pflag, which docker's and podman's users know by hand: `-it`, `-dit`, `-p8080:80`,
 * `-v=/a:/b`, `--rm=false`, `-it=false`, `--name x`, `--name=x`, `--`. Booleans and optional values never take
 * the next word. The result is unambiguous for any parser: each occurrence has its flag and its value.
 */
export type Normalised =
  | { readonly ok: true; readonly occurrences: readonly Occurrence[]; readonly operands: readonly string[] }
  | { readonly ok: false; readonly problem: FlagProblem }

/** `value` is `true` or `false` for booleans. */
export interface Occurrence {
  readonly flag: Flag
  readonly value: string
}

export type FlagProblem =
  /** `name` is the long name or the single letter. */
  | { readonly kind: 'unknown'; readonly name: string; readonly short: boolean; readonly word: string }
  | { readonly kind: 'missing-value'; readonly flag: Flag; readonly word: string }
  | { readonly kind: 'bad-bool'; readonly flag: Flag; readonly value: string }
  | { readonly kind: 'bad-syntax'; readonly word: string }

export interface NormaliseOptions {
  /** False: the first operand ends the flags (`run`, whose command has flags of its own). */
  readonly interspersed: boolean
}

interface Scan {
  readonly words: readonly string[]
  readonly long: ReadonlyMap<string, Flag>
  readonly short: ReadonlyMap<string, Flag>
  readonly occurrences: Occurrence[]
  next: number
}

export function normaliseArgv(argv: readonly string[], flags: readonly Flag[], options: NormaliseOptions): Normalised {
  const scan: Scan = { words: argv, ...indexFlags(flags), occurrences: [], next: 0 }
  const operands: string[] = []
  while (scan.next < argv.length) {
    const word = argv[scan.next++] ?? ''
    if (word === '--') {
      operands.push(...argv.slice(scan.next))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      operands.push(word)
      if (options.interspersed) continue
      operands.push(...argv.slice(scan.next))
      break
    }
    const problem = word.startsWith('--') ? readLong(scan, word) : readShorts(scan, word)
    if (problem !== undefined) return { ok: false, problem }
  }
  return { ok: true, occurrences: scan.occurrences, operands }
}

/** The same request in the one form every parser understands: `--name=value` each, then `--` and the operands. */
export function canonicalArgv(normalised: Extract<Normalised, { ok: true }>): string[] {
  return [...normalised.occurrences.map(({ flag, value }) => `--${flag.name}=${value}`), '--', ...normalised.operands]
}

function indexFlags(flags: readonly Flag[]): { long: Map<string, Flag>; short: Map<string, Flag> } {
  const long = new Map<string, Flag>()
  const short = new Map<string, Flag>()
  for (const flag of flags) {
    long.set(flag.name, flag)
    for (const alias of flag.aliases ?? []) long.set(alias, flag)
    // First come, first served: run's -h (hostname) stands before the -h of help.
    if (flag.short !== undefined && !short.has(flag.short)) short.set(flag.short, flag)
  }
  return { long, short }
}

function readLong(scan: Scan, word: string): FlagProblem | undefined {
  if (/^--[-=]/.test(word)) return { kind: 'bad-syntax', word }
  const equals = word.indexOf('=')
  const name = word.slice(2, equals < 0 ? undefined : equals)
  const flag = scan.long.get(name)
  if (flag === undefined) return { kind: 'unknown', name, short: false, word }
  if (equals >= 0) return take(scan, flag, word.slice(equals + 1))
  return take(scan, flag, valueWithoutEquals(flag, scan) ?? scan.words[scan.next++], word)
}

/** `-it`, `-p80`, `-p 80`, `-p=80`, `-it=false`: the letters of one word, left to right. */
function readShorts(scan: Scan, word: string): FlagProblem | undefined {
  for (let at = 1; at < word.length; at++) {
    const letter = word[at] ?? ''
    const flag = scan.short.get(letter)
    if (flag === undefined) return { kind: 'unknown', name: letter, short: true, word }
    const rest = word.slice(at + 1)
    // A lone `=` is not an assignment: in pflag `-e=` has the value `=`, and `-t=` has an unknown letter.
    if (rest.length > 1 && rest.startsWith('=')) return take(scan, flag, rest.slice(1))
    const implied = valueWithoutEquals(flag, scan)
    if (implied === undefined) return take(scan, flag, rest === '' ? scan.words[scan.next++] : rest, `-${letter}`)
    scan.occurrences.push({ flag, value: implied })
  }
  return undefined
}

/** Undefined where the value is the next word. */
function valueWithoutEquals(flag: Flag, scan: Scan): string | undefined {
  if (flag.kind === 'bool') return 'true'
  const takesNone = flag.kind === 'word' && scan.words[scan.next]?.startsWith('-') !== false
  return takesNone ? (flag.implied ?? '') : undefined
}

function take(scan: Scan, flag: Flag, value: string | undefined, word = `--${flag.name}`): FlagProblem | undefined {
  if (value === undefined) return { kind: 'missing-value', flag, word }
  if (flag.kind !== 'bool') {
    scan.occurrences.push({ flag, value })
    return undefined
  }
  const truth = parseBool(value)
  if (truth === undefined) return { kind: 'bad-bool', flag, value }
  scan.occurrences.push({ flag, value: String(truth) })
  return undefined
}

/** The spellings Go's strconv.ParseBool takes; undefined for any other. */
export function parseBool(text: string): boolean | undefined {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true
  if (/^(?:0|f|F|false|FALSE|False)$/.test(text)) return false
  return undefined
}
