import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { pause } from '../../syscall/pause.ts'
import type { NewEvent } from './log.ts'
import type { EnginePaths } from '../paths.ts'

/** Something that happened. */
export interface EngineEvent extends NewEvent {
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint
}

/** Each list is "any of", except labels; all lists must hold. */
export interface EventFilter {
  /** Names, or beginnings of ids. */
  readonly container?: readonly string[]
  readonly image?: readonly string[]
  readonly volume?: readonly string[]
  readonly network?: readonly string[]
  readonly type?: readonly string[]
  /** Actions; that of an exec without its command. podman's words mean the same. */
  readonly event?: readonly string[]
  /** `key` or `key=value`. */
  readonly label?: readonly string[]
}

export interface EventsOptions {
  /** Milliseconds since 1970: also what happened since then. */
  readonly sinceMs?: number
  /** What happened until then, and no longer. */
  readonly untilMs?: number
  /** Go on with what happens from now on (the default); else what is known, and then the end. */
  readonly follow?: boolean
  readonly filter?: EventFilter
  readonly signal?: AbortSignal
}

const LOOK_MS = 100
const CHUNK = 256 * 1024

/** Events in the order in which they were written, from the file before the current one on. */
export async function* readEvents(paths: EnginePaths, options: EventsOptions): AsyncGenerator<EngineEvent> {
  const { follow = true, filter = {}, signal } = options
  const sinceMs = options.sinceMs ?? (follow ? Date.now() : 0)
  const untilMs = options.untilMs ?? Number.POSITIVE_INFINITY
  const wanted = (event: EngineEvent): boolean => {
    const ms = Number(event.timeNs / 1000n) / 1000
    return ms >= sinceMs && ms <= untilMs && matchesEvent(event, filter)
  }
  const reader = openReader(paths.events, options.sinceMs !== undefined || !follow)
  try {
    for (;;) {
      // Asked before the read: what was written before the end is still read.
      const last = !follow || Date.now() >= untilMs || signal?.aborted === true
      yield* reader.read().flatMap(parseEvent).filter(wanted)
      if (last) return
      await pause(Math.min(LOOK_MS, Math.max(1, untilMs - Date.now())))
    }
  } finally {
    reader.close()
  }
}

/** podman's words for docker's. */
const SAME: Readonly<Record<string, string>> = {
  died: 'die',
  exec: 'exec_start',
  exec_died: 'exec_die',
  init: 'start',
  remove: 'destroy',
}

export function matchesEvent({ type, action, id, attributes }: NewEvent, filter: EventFilter): boolean {
  const any = (list: readonly string[] | undefined, test: (text: string) => boolean): boolean =>
    list === undefined || list.some(test)
  const named = (kind: string, text: string): boolean =>
    type === kind && (attributes['name'] === text || id === text || (kind === 'container' && id.startsWith(text)))
  const word = action.replace(/:.*/s, '')
  return (
    any(filter.type, (text) => text === type) &&
    any(filter.event, (text) => text === word || SAME[text] === word) &&
    any(filter.container, (text) => named('container', text)) &&
    any(filter.image, (text) => attributes['image'] === text || named('image', text)) &&
    any(filter.volume, (text) => named('volume', text)) &&
    any(filter.network, (text) => named('network', text)) &&
    (filter.label ?? []).every((text) => {
      const equals = text.indexOf('=')
      const key = equals < 0 ? text : text.slice(0, equals)
      return Object.hasOwn(attributes, key) && (equals < 0 || attributes[key] === text.slice(equals + 1))
    })
  )
}

/** A line that is none (a full disk has cut it) tells nothing. */
function parseEvent(line: string): EngineEvent[] {
  const timeNs = /"timeNano":([0-9]+)\}$/.exec(line)?.[1]
  if (timeNs === undefined) return []
  try {
    const { Type, Action, Actor } = JSON.parse(line) as {
      Type: EngineEvent['type']
      Action?: string
      Actor?: { ID: string; Attributes: Record<string, string> }
    }
    if (Action === undefined || Actor === undefined) return []
    return [{ type: Type, action: Action, id: Actor.ID, attributes: Actor.Attributes, timeNs: BigInt(timeNs) }]
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}

interface LogFile {
  readonly inode: number
  /** Complete lines that were written since the last call. */
  read(): string[]
  close(): void
}

/**
 * The file under its name, and the one before it: a writer may still have that open when it is renamed. With `past` what
 * they hold already is read, too.
 */
function openReader(path: string, past: boolean): Pick<LogFile, 'read' | 'close'> {
  let current = tryOpen(path)
  let before = past ? tryOpen(`${path}.1`) : undefined
  if (before !== undefined && before.inode === current?.inode) {
    before.close()
    before = undefined
  }
  if (!past) current?.read()
  return {
    read: () => {
      const lines = [...(before?.read() ?? []), ...(current?.read() ?? [])]
      const inode = statSync(path, { throwIfNoEntry: false })?.ino
      if (inode === undefined || inode === current?.inode) return lines
      before?.close()
      before = current
      current = tryOpen(path)
      return [...lines, ...(before?.read() ?? []), ...(current?.read() ?? [])]
    },
    close: () => {
      before?.close()
      current?.close()
    },
  }
}

function tryOpen(path: string): LogFile | undefined {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  let rest = Buffer.alloc(0)
  return {
    inode: fstatSync(fd).ino,
    read: () => {
      const chunks = [rest]
      for (let got = -1; got !== 0; ) {
        const chunk = Buffer.alloc(CHUNK)
        got = readSync(fd, chunk)
        chunks.push(chunk.subarray(0, got))
      }
      const all = Buffer.concat(chunks)
      const end = all.lastIndexOf(0x0a) + 1
      rest = Buffer.from(all.subarray(end))
      return all.toString('utf8', 0, end).split('\n').slice(0, -1)
    },
    close: () => closeSync(fd),
  }
}
