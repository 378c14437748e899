import { closeSync, constants, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { trySyscall } from '../../syscall/call.ts'
import { eventAttributes } from './launch.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

/** Something that happened, to be written down. */
export interface NewEvent {
  readonly type: 'container' | 'image' | 'network' | 'volume'
  /** docker's word for it; that of an exec has the command behind it (`exec_start: sh -c true`). */
  readonly action: string
  /** The id of a container or a network, the image's or the volume's name. */
  readonly id: string
  readonly attributes: Readonly<Record<string, string>>
}

/** MOST_BYTES of native/events.c, which writes the same file. */
const MOST_BYTES = 2 ** 20
const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants
const [LOCK_EX, LOCK_NB] = [2, 4]
/** A store that takes nothing, or is not there, has no events; what was done is done all the same. */
const UNTOLD = ['ENOENT', 'ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES']

/** Appends events in one write(2), so that lines of several writers stay whole. */
export function writeEvents(paths: EnginePaths, events: readonly NewEvent[]): void {
  const text = events.map((event) => `${lineOf(event, nowNs())}\n`).join('')
  try {
    const fd = openSync(paths.events, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600)
    try {
      writeSync(fd, text)
      rotate(paths.events, fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (!UNTOLD.includes(errnoOf(error) ?? '')) throw error
  }
}

/** An event of a container; `more` goes beside what is said of it every time. */
export function containerEvent(record: Named, action: string, more: Readonly<Record<string, string>> = {}): NewEvent {
  return {
    type: 'container',
    action,
    id: record.id,
    attributes: { ...eventAttributes(record), name: record.name, ...more },
  }
}

type Named = Pick<ContainerRecord, 'id' | 'name' | 'image' | 'labels'>

/** Who is connected now, and when the detach keys end that: the end of the container tells itself. */
export function tellAttachment(
  paths: EnginePaths,
  record: Named,
  { ended }: { readonly ended: Promise<unknown> },
): void {
  writeEvents(paths, [containerEvent(record, 'attach')])
  const tellEnd = (end: unknown): void => {
    if (end === 'detached') writeEvents(paths, [containerEvent(record, 'detach')])
  }
  // Whoever waits for it hears of an error.
  void ended.then(tellEnd, () => undefined)
}

/** docker's `create`, `destroy`, `mount`, `unmount`, `prune`. */
export function volumeEvent(action: string, name: string, more: Readonly<Record<string, string>> = {}): NewEvent {
  return { type: 'volume', action, id: name, attributes: { driver: 'local', ...more } }
}

/** docker's `pull`, `untag`, `delete`; `id` is the name or the digest that it is about. */
export function imageEvent(action: string, id: string, name: string): NewEvent {
  return { type: 'image', action, id, attributes: { name } }
}

/** docker's `create`, `destroy`, `connect` and `disconnect`. */
export function networkEvent(action: string, id: string, attributes: Readonly<Record<string, string>>): NewEvent {
  return { type: 'network', action, id, attributes }
}

/** The wall clock in nanoseconds, to the microsecond. */
function nowNs(): bigint {
  const [fine, coarse] = [performance.timeOrigin + performance.now(), Date.now()]
  // The fine one does not know of a clock that was set meanwhile.
  const ms = Math.abs(fine - coarse) < 5 ? fine : coarse
  return BigInt(Math.round(ms * 1000)) * 1000n
}

/** In docker's shape. A bigint that JSON has no word for is put in behind. */
function lineOf({ type, action, id, attributes }: NewEvent, timeNs: bigint): string {
  const event = { Type: type, Action: action, Actor: { ID: id, Attributes: attributes }, scope: 'local' }
  return `${JSON.stringify(event).slice(0, -1)},"time":${timeNs / 1_000_000_000n},"timeNano":${timeNs}}`
}

/** Whoever holds the lock of the file that is still there under its name renames it: nobody does so twice. */
function rotate(path: string, fd: number): void {
  const ours = fstatSync(fd)
  if (ours.size < MOST_BYTES || trySyscall('flock', [fd, LOCK_EX | LOCK_NB]) < 0) return
  if (statSync(path, { throwIfNoEntry: false })?.ino === ours.ino) renameSync(path, `${path}.1`)
}
