import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { removeCgroup, removeEmptyCgroup } from '../../cgroups/remove.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { dismissStage, endHold, endStage, givePlan, planMessage, type Stage } from '../../runtime/stage.ts'
import type { Identity } from '../../plan/template.ts'
import { nextTurn, realTimers } from '../../syscall/pause.ts'
import { randomId } from '../../syscall/random.ts'
import { likelyRange, readPool } from '../ids/id-range.ts'
import type { EnginePaths } from '../paths.ts'
import type { NetworkConnection } from '../../model/network.ts'
import { releaseConnections } from '../networks/lease-links.ts'
import { takeLike } from '../networks/connect.ts'
import { newSight } from '../start/look.ts'
import type { Unborn } from '../start/prepare.ts'
import { defaultName } from '../start/name.ts'
import { addressesOf, type AheadStarts, type MadeStart } from '../start/start.ts'
import type { ContainerRecord } from '../state/record.ts'
import { type Foreseen, foresee, remember } from './foresee.ts'
import type { ProvenTemplate } from './plan-cache.ts'

/** A container that may be wanted next. */
interface NextContainer {
  readonly template: ProvenTemplate
  readonly identity: Identity
  /** Absolute directory; absent where it has none. */
  readonly cgroup?: string
  /** It can go on before the container's directory is there. */
  readonly scratch: boolean
  /** Taken, since others could hear of it: its links are in its networks. */
  readonly connections: readonly NetworkConnection[]
  readonly foreseen?: Foreseen
}

/** A stage that runs the plan of one up to the hold, or waits there. */
interface Ahead extends NextContainer {
  readonly stage: Stage
}

/** A stage that waits for a call of this request. */
interface Waiting {
  readonly paths: EnginePaths
  readonly request: string
  readonly stage: Stage
  /** Which one it is to begin; undefined where none is found. */
  readonly draw: () => NextContainer | undefined
  readonly timer: NodeJS.Timeout
  readonly sinceMs: number
  begun?: Ahead | undefined
  /** The event loop has turned since its container has gone: a call that comes now does not come at once. */
  turned: boolean
}

/** What a call has found. */
interface Taken {
  readonly begun?: Ahead | undefined
  /** It comes in the turn of the event loop in which the call before it had its answer, as the next one will. */
  readonly atOnce: boolean
}

/** So many wait at once: as many as end at about the same time. */
const MOST = 8
/** After so long nobody waits for one any more: a process that starts containers one after the other wants it sooner. */
const PATIENCE_MS = 1000

const waiting: Waiting[] = []

/** What decides which container a call of `run()` starts. */
interface Call {
  readonly paths: EnginePaths
  readonly image: string | undefined
  readonly args: readonly string[]
  readonly run: { readonly fds: readonly number[] }
}

/** What such a call has of it. */
export interface AheadOfCall extends AheadStarts {
  /** The container that has been begun, which the call is to start, or a new one. */
  readonly unborn: Unborn
}

export type WithAhead = typeof withAhead

/** Makes a call with what has been begun for it; ends that where it does not come to a launch. */
export async function withAhead<T>(call: Call, start: (ahead: AheadOfCall) => Promise<T>): Promise<T> {
  const request = requestOf(call)
  const { atOnce, ...found } = await take(request)
  let { begun } = found
  const sight = newSight()
  const taken = (): Ahead | undefined => {
    const had = begun
    begun = undefined
    return had
  }
  const dismiss = async (): Promise<void> => {
    const had = taken()
    if (had !== undefined) await endStage(had.stage)
  }
  const { fds } = call.run
  try {
    if (begun?.scratch === true) endHold(begun.stage, fds)
    return await start({
      unborn: { look: sight.look, ...(begun === undefined ? {} : { id: begun.identity.id }) },
      ...(begun === undefined ? {} : { connections: begun.connections }),
      ...(begun?.foreseen === undefined ? {} : { foreseen: begun.foreseen }),
      wanted: () => {
        if (begun?.scratch === false) endHold(begun.stage, fds)
      },
      look: sight.look,
      launch: async (prepared, made, run) => {
        const { template, record, scratch } = made
        const clear = async (): Promise<void> => removeBegun(call.paths, record)
        const stage = await sameOf(taken(), made, clear)
        const next = drawnOnce(() => {
          if (prepared.afresh === undefined) remember(request, { prepared, made, run, sight })
          if (template === undefined) return undefined
          const { cgroup, connections } = record
          const drawn = nextContainer(call.paths, template, { scratch, cgroup, connections })
          const foreseen = drawn === undefined ? undefined : foresee(request, template, drawn.identity)
          return drawn === undefined || foreseen === undefined ? drawn : { ...drawn, foreseen }
        })
        // Beside the start where there will be no time behind it.
        if (atOnce) realTimers.setImmediate(next.draw)
        return {
          ...(stage === undefined ? {} : { ahead: { stage, given: fds.length } }),
          onLost: clear,
          onReleased: (free) => {
            if (free !== undefined) return keep(call.paths, request, free, next.draw, atOnce)
            const drawn = next.end()
            if (drawn !== undefined) giveBack(call.paths, drawn)
          },
        }
      },
      dismiss,
    })
  } finally {
    await dismiss()
  }
}

/** A stage that has begun this very container; nothing is left of one that has begun another one under its id. */
async function sameOf(
  begun: Ahead | undefined,
  { template, plan, record }: MadeStart,
  clear: () => Promise<void>,
): Promise<Stage | undefined> {
  if (begun === undefined) return undefined
  const { id, name, firstId, ip, ip6 } = begun.identity
  const [connection] = record.connections ?? []
  const isSame =
    id === record.id &&
    name === record.name &&
    firstId === record.idRange?.hostId &&
    ip === connection?.ip &&
    ip6 === connection?.ip6
  // Then what it was given is, byte by byte, what it would be given.
  if (plan.held === true && isSame && template === begun.template) return begun.stage
  await endStage(begun.stage)
  await clear()
  return undefined
}

/** What one that is no more has left for the container that is begun anew; it may have been killed. */
async function removeBegun(paths: EnginePaths, { id, cgroup, connections }: ContainerRecord): Promise<void> {
  if (cgroup !== undefined) await removeCgroup(cgroup)
  if (connections !== undefined) {
    const { takeOver } = await import('../networks/begun.ts')
    takeOver(paths, id, connections)
  }
  // An overlay that is thrown away says so in its working directory, and is then mounted no more.
  for (const name of ['upper', 'work']) rmSync(join(paths.containers, id, name), { recursive: true, force: true })
}

/** Streams and signals of one call, and what is done with its result. */
const NO_PART = new Set(['fds', 'input', 'signal', 'stdin', 'buffer', 'maxBuffer', 'reject', 'timeoutMs'])

/** Two calls that say the same here may differ: their plans tell. */
function requestOf({ paths, image, args, run }: Call): string {
  const asked = Object.entries(run).filter(([name]) => !NO_PART.has(name))
  return JSON.stringify([paths.root, paths.runRoot, image, args, asked])
}

/** The youngest that waits for such a request; not one that this process has had no time to send away. */
async function take(request: string): Promise<Taken> {
  const since = Date.now() - 2 * PATIENCE_MS
  const found = waiting.findLast((each) => each.request === request && each.sinceMs > since)
  if (found === undefined) return { atOnce: false }
  leaveQueue(found)
  if (found.begun !== undefined) return { begun: found.begun, atOnce: !found.turned }
  const begun = begin(found)
  // Together with what the call does next it would be the longest block of the event loop.
  await nextTurn()
  return { begun, atOnce: true }
}

/** The next one, drawn when it is first asked for; `end` answers with what has been drawn, after which nothing is any more. */
function drawnOnce(find: () => NextContainer | undefined): {
  readonly draw: () => NextContainer | undefined
  readonly end: () => NextContainer | undefined
} {
  let isOver = false
  let drawn: NextContainer | undefined
  const draw = (): NextContainer | undefined => {
    if (isOver) return drawn
    isOver = true
    try {
      drawn = find()
    } catch (error) {
      // The next call meets the same, and has somebody to tell it to.
      if (!(error instanceof TscrunError) && errnoOf(error) === undefined) throw error
    }
    return drawn
  }
  const end = (): NextContainer | undefined => {
    isOver = true
    return drawn
  }
  return { draw, end }
}

/** Keeps a stage whose container has gone for the next one. */
function keep(paths: EnginePaths, request: string, stage: Stage, draw: Waiting['draw'], atOnce: boolean): void {
  const timer = realTimers.setTimeout(() => sendAway(kept), PATIENCE_MS).unref()
  const kept: Waiting = { paths, request, stage, draw, timer, sinceMs: Date.now(), turned: false }
  waiting.push(kept)
  if (waiting.length > MOST) sendAway(waiting[0])
  const proceed = (): void => {
    if (kept.begun !== undefined || !waiting.includes(kept)) return
    kept.begun = begin(kept)
    if (kept.begun === undefined) leaveQueue(kept)
  }
  if (atOnce) proceed()
  // The caller of the one before has its answer first.
  realTimers.setImmediate(() => {
    kept.turned = true
    proceed()
  })
}

/** Has a stage begin the next one. Undefined where none is to be had: then it has been sent away. */
function begin({ paths, stage, draw }: Waiting): Ahead | undefined {
  const next = draw()
  if (next !== undefined && givePlan(stage, messageOf(next))) return { ...next, stage }
  dismiss(paths, stage, next)
  return undefined
}

/** Messages with a plan, written anew for each; the socket has its own copy. */
const messages = new WeakMap<ProvenTemplate, ReturnType<typeof planMessage>>()

function messageOf({ template, identity }: NextContainer): Buffer {
  const made = messages.get(template) ?? planMessage(template.size)
  messages.set(template, made)
  template.fill(identity, made.plan)
  return made.message
}

/** False where it was no longer in it. */
function leaveQueue(kept: Waiting): boolean {
  const at = waiting.indexOf(kept)
  if (at < 0) return false
  waiting.splice(at, 1)
  realTimers.clearTimeout(kept.timer)
  return true
}

function sendAway(kept: Waiting | undefined): void {
  if (kept !== undefined && leaveQueue(kept)) dismiss(kept.paths, kept.stage, kept.begun)
}

/** It removes its cgroup itself and gives its addresses back, unless it was killed. */
function dismiss(paths: EnginePaths, stage: Stage, begun: NextContainer | undefined): void {
  dismissStage(stage, () => {
    if (begun !== undefined) giveBack(paths, begun)
    if (begun?.cgroup === undefined || removeEmptyCgroup(begun.cgroup)) return
    // Its first process is on its way out.
    removeCgroup(begun.cgroup, PATIENCE_MS).catch((error: unknown) => {
      // One that does not end is the sweep's.
      if (errnoOf(error) !== 'EBUSY') throw error
    })
  })
}

function giveBack(paths: EnginePaths, { identity, connections }: NextContainer): void {
  releaseConnections(paths, identity.id, connections)
}

const MOST_TRIES = 40

/** One of a template, as its record has it. */
interface One {
  readonly connections: readonly NetworkConnection[] | undefined
  readonly scratch: boolean
  readonly cgroup: string | undefined
}

/**
 * Another container of the same template: nothing of it is taken yet but its addresses, neither its name nor its range of
 * ids. Undefined where none is found soon whose name has as many letters, and whose range is free.
 */
function nextContainer(paths: EnginePaths, template: ProvenTemplate, one: One): NextContainer | undefined {
  const { like } = template
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const id = randomId()
    const name = defaultName(id)
    if (name.length !== like.name.length) continue
    const firstId = likelyRange(paths.ranges, id, readPool(paths.idPool))
    if (firstId === undefined || String(firstId).length !== String(like.firstId).length) continue
    const connections = one.connections === undefined ? [] : takeLike(paths, id, one.connections)
    if (connections === undefined) continue
    const cgroup = one.cgroup === undefined ? {} : { cgroup: join(dirname(one.cgroup), id) }
    const identity = { id, name, firstId, nowMs: 0, ...addressesOf(connections[0]) }
    return { template, identity, ...cgroup, scratch: one.scratch, connections }
  }
  return undefined
}
