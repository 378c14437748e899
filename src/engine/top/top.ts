import { closest } from '../../model/closest.ts'
import { TscrunError } from '../../model/errors.ts'
import type { IdMapping } from '../../model/config.ts'
import { pidsOf } from '../../runtime/processes.ts'
import { readIfThere } from '../../runtime/host.ts'
import { type ContainerView, findContainer } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'
import { CODES, type Column, DESCRIPTORS, FULL, KEYWORDS, SHORT, type TopView, USERS } from './columns.ts'
import { readProcess, upSeconds } from './process.ts'

/** The processes of a container, as a table. */
export interface TopTable {
  readonly titles: readonly string[]
  readonly processes: readonly (readonly string[])[]
}

/**
 * What runs in a container, by the host's /proc: nothing of the container is run, none of its files is read. `words` are
 * options of ps(1) or podman's descriptors; with none docker's columns. Throws CONTAINER_STATE for one that does not run.
 */
export function containerTop(paths: EnginePaths, idOrName: string, words: readonly string[]): TopTable {
  const columns = chooseColumns(words)
  const view = findContainer(paths, idOrName)
  if (view.status !== 'running' && view.status !== 'paused') {
    throw new TscrunError('CONTAINER_STATE', `top ${idOrName}: it is ${view.status}`, {
      subject: idOrName,
      hint: '`tscrun start` starts it',
    })
  }
  const up = upSeconds()
  const processes = pidsOf(view.record.cgroup, view.live?.pid).flatMap((pid) => readProcess(pid, up) ?? [])
  const names = topView(view, new Map(processes.map(({ pid, pids }) => [pid, pids])))
  return {
    titles: columns.map(({ title }) => title),
    processes: processes.map((process) => columns.map((column) => column.value(process, names))),
  }
}

function topView({ record, live }: ContainerView, pids: ReadonlyMap<number, readonly number[]>): TopView {
  const { uidMappings = [], gidMappings = [], namespaces = [] } = record.config.linux ?? {}
  const own = namespaces.some(({ type }) => type === 'user')
  const [users, groups] = [namesIn('/etc/passwd'), namesIn('/etc/group')]
  const depth = Math.max(0, (pids.get(live?.pid ?? 0)?.length ?? 1) - 1)
  return {
    nowMs: Date.now(),
    depth,
    uid: (id) => (own ? inside(uidMappings, id) : id),
    gid: (id) => (own ? inside(gidMappings, id) : id),
    hostUser: (id) => users.get(id) ?? String(id),
    hostGroup: (id) => groups.get(id) ?? String(id),
    pid: (id) => pids.get(id)?.[depth] ?? 0,
  }
}

function inside(mappings: readonly IdMapping[], id: number): number {
  const mapping = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size)
  return mapping === undefined ? 65_534 : id - mapping.hostID + mapping.containerID
}

/** Names by number of the host's own accounts. */
function namesIn(file: string): Map<number, string> {
  const lines = (readIfThere(file) ?? '').split('\n').map((line) => line.split(':'))
  return new Map(lines.flatMap(([name, , id]) => (name === undefined || id === undefined ? [] : [[Number(id), name]])))
}

/** Throws USAGE. */
export function chooseColumns(words: readonly string[]): readonly Column[] {
  const [first] = words
  if (first === undefined) return FULL
  const names = words.flatMap((word) => word.split(','))
  // podman's way: nothing but descriptors.
  if (DESCRIPTORS.has(descriptorOf(names[0] ?? ''))) {
    return names.map((name) => DESCRIPTORS.get(descriptorOf(name)) ?? unknown(name, [...DESCRIPTORS.keys()]))
  }
  return psColumns(words)
}

const descriptorOf = (name: string): string => CODES[name] ?? name.toLowerCase()

/** What the options of ps(1) that choose columns choose; those that choose processes choose all of the container. */
function psColumns(words: readonly string[]): readonly Column[] {
  const chosen: Column[] = []
  let set: readonly Column[] | undefined
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [, letters = '', glued = ''] = /^-?([A-Za-z]*?)(?:o(.*))?$/.exec(word) ?? []
    const isFormat = /^(-?[A-Za-z]*o.*|--format(=.*)?)$/.test(word) && !/^-?(aux|ef)$/.test(word)
    if (isFormat) {
      const inline = word.startsWith('--format') ? word.slice('--format='.length) : glued
      const text = inline === '' ? (words[++at] ?? '') : inline
      if (text === '') throw new TscrunError('USAGE', `top ${word}: columns are missing`, { hint: 'e.g. -o pid,args' })
      chosen.push(...parseKeywords(text))
      continue
    }
    set = setOf(word, letters) ?? set
  }
  return chosen.length > 0 ? chosen : (set ?? FULL)
}

function setOf(word: string, letters: string): readonly Column[] | undefined {
  if (!/^-?[AaefFuxwHT]+$/.test(word)) throw unknownOption(word)
  if (letters.includes('u')) return USERS
  return /[fF]/.test(letters) ? FULL : SHORT
}

/** `pid,comm=NAME`: behind `=` is a title of one's own. */
function parseKeywords(text: string): Column[] {
  return text.split(',').map((part) => {
    const [name = '', title] = part.split('=', 2)
    const column = KEYWORDS.get(name.toLowerCase()) ?? unknown(name, [...KEYWORDS.keys()])
    return title === undefined ? column : { ...column, title }
  })
}

function unknown(name: string, known: readonly string[]): never {
  const near = closest(name, known)
  throw new TscrunError('USAGE', `top ${name}: no such column`, {
    subject: name,
    hint: near === undefined ? known.toSorted().join(' ') : `did you mean ${near}?`,
  })
}

function unknownOption(word: string): TscrunError {
  return new TscrunError('USAGE', `top ${word}: neither a column nor an option of ps that is known here`, {
    subject: word,
    hint: 'columns such as pid user args, or -ef, aux, -o pid,args',
  })
}
