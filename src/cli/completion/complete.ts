import { containerNames, imageNames, networkNames, shortContainerIds, volumeNames } from '../../engine/completion.ts'
import { findConfig } from '../../engine/config/file.ts'
import { type EnginePaths, enginePaths } from '../../engine/paths.ts'
import type { Settings } from '../../model/settings.ts'
import type { Command } from '../command.ts'
import { type Flag, GLOBAL_FLAGS, TOP_FLAGS } from '../flags/flag.ts'
import { GROUPS } from '../groups.ts'
import { ENTRIES } from '../registry.ts'
import { FILTERS, FLAG_VALUES, type Kind, OPERANDS } from './values.ts'

/** What may stand for the last word: whole words, with what a shell may show beside them. */
export interface Completion {
  readonly candidates: readonly Candidate[]
  /** How the shell goes on: `files` and `directories` are its own to list; `nospace`: the word is not complete yet. */
  readonly directive: '' | 'files' | 'directories' | 'nospace'
}

export interface Candidate {
  readonly word: string
  readonly about?: string
}

const NOTHING: Completion = { candidates: [], directive: '' }

/** `words` are those after the program's name, the last one is where the cursor stands; it may be empty. */
export async function complete(words: readonly string[]): Promise<Completion> {
  const top = scan(words, TOP_FLAGS, false)
  if (top.pending !== undefined) return valueOf(top.pending, top, await pathsFor(top))
  const [name] = top.operands
  if (name === undefined) return top.current.startsWith('-') ? flagsOf(TOP_FLAGS, top.current) : commands(top.current)
  const target = await resolveCommand(name, top.rest)
  if (target === undefined) return NOTHING
  if (Array.isArray(target)) return matching(target as readonly Candidate[], top.current)
  const { command, words: own } = target as { command: Command; words: readonly string[] }
  const flags = [...command.flags, ...GLOBAL_FLAGS]
  const inner = scan(own, flags, command.passThrough === true)
  const paths = await pathsFor(top, inner)
  if (inner.pending !== undefined) return valueOf(inner.pending, inner, paths)
  if (inner.current.startsWith('-') && !inner.ended) return flagsOf(flags, inner.current)
  const kinds = OPERANDS[command.name] ?? ['none']
  const given = inner.values.get('rootfs') ?? 'false'
  // With `--rootfs DIR` the operands are the command.
  if (command.name === 'run' && given !== 'false') return NOTHING
  return ofKind(kinds[Math.min(inner.operands.length, kinds.length - 1)] ?? 'none', inner.current, paths)
}

interface Scan {
  /** Before the word at the cursor. */
  readonly operands: readonly string[]
  /** What follows the first operand, the word at the cursor included. */
  readonly rest: readonly string[]
  readonly values: ReadonlyMap<string, string>
  readonly current: string
  /** The flag whose value the word at the cursor is, and what of the word stands before the value. */
  readonly pending: { readonly flag: Flag; readonly before: string } | undefined
  /** No flag can follow. */
  readonly ended: boolean
}

function scan(words: readonly string[], flags: readonly Flag[], passThrough: boolean): Scan {
  const current = words.at(-1) ?? ''
  const operands: string[] = []
  const values = new Map<string, string>()
  let waiting: Flag | undefined
  let ended = false
  let firstAt = words.length
  words.slice(0, -1).forEach((word, index) => {
    if (waiting !== undefined) {
      values.set(waiting.name, word)
      waiting = undefined
    } else if (ended || !word.startsWith('-') || word === '-') {
      if (operands.length === 0) firstAt = index + 1
      operands.push(word)
      if (passThrough) ended = true
    } else if (word === '--') ended = true
    else waiting = readFlag(word, flags, values)
  })
  const inline = /^(--[^=]+=)/.exec(current)?.[1]
  const named = inline === undefined || ended ? undefined : flagOf(inline.slice(2, -1), flags)
  const pending = waiting ?? named
  return {
    operands,
    rest: words.slice(firstAt),
    values,
    current,
    pending: pending === undefined ? undefined : { flag: pending, before: waiting === undefined ? (inline ?? '') : '' },
    ended,
  }
}

/** Notes the flag's value, or answers the flag that waits for the next word. */
function readFlag(word: string, flags: readonly Flag[], values: Map<string, string>): Flag | undefined {
  const equals = word.indexOf('=')
  const long = word.startsWith('--')
  const flag = long
    ? flagOf(word.slice(2, equals < 0 ? undefined : equals), flags)
    : flags.find(({ short }) => short === word.at(-1))
  if (flag === undefined) return undefined
  if (long && equals >= 0) values.set(flag.name, word.slice(equals + 1))
  else if (flag.kind === 'bool') values.set(flag.name, 'true')
  else return flag
  return undefined
}

function flagOf(name: string, flags: readonly Flag[]): Flag | undefined {
  return flags.find((flag) => flag.name === name || flag.aliases?.includes(name) === true)
}

function flagsOf(flags: readonly Flag[], current: string): Completion {
  const unique = [...new Map(flags.map((flag) => [flag.name, flag])).values()]
  return matching(
    unique.map(({ name, help }) => ({ word: `--${name}`, about: help })),
    current,
  )
}

function commands(current: string): Completion {
  const entries = ENTRIES.filter(({ name }) => !name.includes(' '))
  const all = [...entries, ...GROUPS].map(({ name, summary }) => ({ word: name, about: summary }))
  return matching([...all, { word: 'help', about: 'Print usage' }], current)
}

/** A command and the words after it, or what can follow the name of a group. */
async function resolveCommand(
  name: string,
  rest: readonly string[],
): Promise<{ command: Command; words: readonly string[] } | readonly Candidate[] | undefined> {
  if (name === 'help') return ENTRIES.map((entry) => ({ word: entry.name, about: entry.summary }))
  const entry = ENTRIES.find((candidate) => candidate.name === name)
  if (entry !== undefined) return { command: await entry.load(), words: rest }
  const group = GROUPS.find((candidate) => candidate.name === name)
  if (group === undefined) return undefined
  const [word = '', ...words] = rest
  const about = (target: string): string => ENTRIES.find((each) => each.name === target)?.summary ?? ''
  if (rest.length < 2) {
    return Object.entries(group.members).map(([member, [target]]) => ({ word: member, about: about(target) }))
  }
  const [target] = Object.hasOwn(group.members, word) ? (group.members[word] ?? []) : []
  const member = ENTRIES.find((candidate) => candidate.name === target)
  return member === undefined ? undefined : { command: await member.load(), words }
}

function valueOf({ flag, before }: NonNullable<Scan['pending']>, { current }: Scan, paths: EnginePaths): Completion {
  const typed = current.slice(before.length)
  if (flag.kind === 'bool') return prefixed(matching([{ word: 'true' }, { word: 'false' }], typed), before)
  if (flag.name === 'filter') return prefixed(filterWords(typed, paths), before)
  if (flag.name === 'volume') return prefixed(volumeWords(typed, paths), before)
  if (flag.name === 'format') return prefixed(matching([{ word: 'json' }, { word: 'table ' }], typed), before)
  const kind = FLAG_VALUES[flag.name] ?? 'none'
  const joined = /^container:/.exec(typed)?.[0]
  if (joined !== undefined && Array.isArray(kind) && kind.includes('container:')) {
    return prefixed(ofKind('container', typed.slice(joined.length), paths), `${before}${joined}`)
  }
  const { candidates, directive } = ofKind(kind, typed, paths)
  if (flag.name !== 'network') return prefixed({ candidates, directive }, before)
  const networks = ofKind('network', typed, paths).candidates
  return prefixed({ candidates: [...networks, ...candidates], directive: networks.length > 0 ? '' : directive }, before)
}

function filterWords(typed: string, paths: EnginePaths): Completion {
  const equals = typed.indexOf('=')
  if (equals < 0)
    return matching(
      Object.keys(FILTERS).map((key) => ({ word: `${key}=` })),
      typed,
    )
  const key = typed.slice(0, equals)
  const before = typed.slice(0, equals + 1)
  const value = typed.slice(equals + 1)
  if (key === 'name') return prefixed(ofKind('container', value, paths), before)
  if (key === 'ancestor') return prefixed(ofKind('image', value, paths), before)
  if (key === 'volume') return prefixed(ofKind('volume', value, paths), before)
  return prefixed(ofKind(FILTERS[key] ?? [], value, paths), before)
}

/** A named volume, or a path of the caller's. */
function volumeWords(typed: string, paths: EnginePaths): Completion {
  if (/^[./~]/.test(typed)) return { candidates: [], directive: 'files' }
  const found = matching(
    volumeNames(paths).map((name) => ({ word: `${name}:` })),
    typed,
  )
  return found.candidates.length === 0 ? { candidates: [], directive: 'files' } : found
}

function ofKind(kind: Kind, typed: string, paths: EnginePaths): Completion {
  if (typeof kind !== 'string')
    return matching(
      kind.map((word) => ({ word })),
      typed,
    )
  const named = (words: readonly string[], about: string): Candidate[] => words.map((word) => ({ word, about }))
  switch (kind) {
    case 'container': {
      const names = named(containerNames(paths), 'container')
      // Ids only for whoever begins one.
      const ids = /^[0-9a-f]+$/.test(typed) ? named(shortContainerIds(paths), 'container') : []
      return matching([...names, ...ids], typed)
    }
    case 'image':
      return matching(named(imageNames(paths), 'image'), typed)
    case 'volume':
      return matching(named(volumeNames(paths), 'volume'), typed)
    case 'network':
      return matching(named(networkNames(paths), 'network'), typed)
    case 'anything': {
      const kinds = (['container', 'image', 'volume'] as const).map((each) => ofKind(each, typed, paths).candidates)
      return { candidates: kinds.flat(), directive: '' }
    }
    case 'container-path': {
      const found = matching(
        named(
          containerNames(paths).map((name) => `${name}:`),
          'container',
        ),
        typed,
      )
      return typed === '' || found.candidates.length > 0 ? found : { candidates: [], directive: 'files' }
    }
    case 'file':
      return { candidates: [], directive: 'files' }
    case 'directory':
      return { candidates: [], directive: 'directories' }
    case 'none':
      return NOTHING
    default:
      return kind satisfies never
  }
}

function matching(all: readonly Candidate[], typed: string): Completion {
  const candidates = all.filter(({ word }) => word.startsWith(typed))
  const unfinished = candidates.length > 0 && candidates.every(({ word }) => /[:=,]$/.test(word))
  return { candidates, directive: unfinished ? 'nospace' : '' }
}

function prefixed({ candidates, directive }: Completion, before: string): Completion {
  return { candidates: candidates.map(({ word, ...rest }) => ({ ...rest, word: before + word })), directive }
}

async function pathsFor(...scans: readonly Scan[]): Promise<EnginePaths> {
  const last = (name: string): string | undefined =>
    scans.map(({ values }) => values.get(name)).findLast((value) => value !== undefined)
  const [root, runRoot] = [last('root'), last('runroot')]
  const options = { ...(root === undefined ? {} : { root }), ...(runRoot === undefined ? {} : { runRoot }) }
  return enginePaths(options, await configured())
}

async function configured(): Promise<Settings> {
  const config = findConfig()
  return config === undefined ? {} : (await import('../../engine/config/parse.ts')).parseConfig(config).settings
}

/** For the scripts: a candidate a line, a tab before what it is about; the directive behind a colon at the end. */
export function completionText({ candidates, directive }: Completion): string {
  const lines = candidates.map(({ word, about }) => (about === undefined || about === '' ? word : `${word}\t${about}`))
  return [...lines, `:${directive}`, ''].join('\n')
}
