import { TscrunError } from '../../model/errors.ts'
import type { Connection, Reply } from './connection.ts'
import { inContext, malformed } from './error.ts'
import { bodyOf, type Received } from './message.ts'
import { BUS, HINT, MANAGER, property, SYSTEMD, SYSTEMD_PATH, type Systemd } from './open.ts'
import { unitObjectPath } from './place.ts'
import type { Property } from './properties.ts'
import type { DbusValue } from './signature.ts'

const BUS_PATH = '/org/freedesktop/DBus'
const NO_SUCH_UNIT = `${SYSTEMD}.NoSuchUnit`
const UNIT_EXISTS = `${SYSTEMD}.UnitExists`
/** What an object that is gone answers. */
const GONE = [NO_SUCH_UNIT, `${BUS}.Error.UnknownObject`, `${BUS}.Error.UnknownInterface`]

export interface Scope {
  /** Such as `tscrun-web.scope`. */
  readonly unit: string
  readonly slice: string
  readonly description: string
  /** Processes that go into it, on the host; one at least. */
  readonly pids: readonly number[]
  /** Limits and what annotations ask for; they come after our own and win. */
  readonly properties: readonly Property[]
}

/**
 * Makes a transient scope of processes that exist and wait, and answers its cgroup below the root of the hierarchy, such
 * as `/system.slice/tscrun-web.scope`, when they are in it. Throws NAME_IN_USE for a unit that is there already, SYSTEMD
 * with systemd's own words where it refuses.
 */
export async function startScope(systemd: Systemd, scope: Scope): Promise<{ readonly cgroup: string }> {
  const { unit } = scope
  if (!unit.endsWith('.scope')) {
    throw new TscrunError('INVALID_CONFIG', `start ${unit}: a unit with processes is a scope`, {
      subject: unit,
      hint: 'a linux.cgroupsPath whose name does not end with .slice',
    })
  }
  const start = (): Promise<string> =>
    runJob(systemd, unit, 'StartTransientUnit', 'ssa(sv)a(sa(sv))', [unit, 'replace', scopeProperties(scope), []])
  const result = await start().catch(async (error: unknown) => {
    if (!isAnswer(error, [UNIT_EXISTS])) throw inContext(`StartTransientUnit ${unit}`, error)
    // One that failed stays until somebody has noticed.
    await resetFailed(systemd, unit)
    return start().catch((again: unknown) => {
      throw isAnswer(again, [UNIT_EXISTS]) ? inUse(unit, again) : inContext(`StartTransientUnit ${unit}`, again)
    })
  })
  if (result !== 'done') {
    await resetFailed(systemd, unit)
    throw new TscrunError('SYSTEMD', `StartTransientUnit ${unit}: its job ended with ${JSON.stringify(result)}`, {
      subject: unit,
      hint: HINT,
    })
  }
  const cgroup = await property(systemd.connection, unitObjectPath(unit), `${SYSTEMD}.Scope`, 'ControlGroup').catch(
    (error: unknown) => {
      if (!isAnswer(error, GONE)) throw error
      return ''
    },
  )
  if (typeof cgroup === 'string' && cgroup.startsWith('/')) return { cgroup }
  throw new TscrunError('SYSTEMD', `StartTransientUnit ${unit}: its processes ended before it began`, { subject: unit })
}

/** Throws NAME_IN_USE if a unit of this name runs; `startScope` decides, this spares making things in vain. */
export async function requireNewUnit({ connection }: Systemd, unit: string): Promise<void> {
  const state = await property(connection, unitObjectPath(unit), `${SYSTEMD}.Unit`, 'ActiveState')
  if (state !== 'inactive' && state !== 'failed') throw inUse(unit, undefined)
}

/** One of each name, the last given. */
function scopeProperties({ slice, description, pids, properties }: Scope): DbusValue[] {
  const yes = { signature: 'b', value: true }
  const all = new Map<string, DbusValue>([
    ['Description', { signature: 's', value: description }],
    ['Slice', { signature: 's', value: slice }],
    ['PIDs', { signature: 'au', value: pids }],
    ['Delegate', yes],
    // Not in the way of a shutdown's ordering, and not pulled in by anything.
    ['DefaultDependencies', { signature: 'b', value: false }],
    ['MemoryAccounting', yes],
    ['CPUAccounting', yes],
    ['IOAccounting', yes],
    ['TasksAccounting', yes],
    // Nothing stays loaded of a scope that failed.
    ['CollectMode', { signature: 's', value: 'inactive-or-failed' }],
  ])
  for (const { name, value } of properties) all.set(name, value)
  return [...all]
}

/** Changes limits of a unit until it ends. Throws NO_SUCH_CONTAINER where it is gone, SYSTEMD where systemd refuses. */
export async function setUnitProperties(
  systemd: Systemd,
  unit: string,
  properties: readonly Property[],
): Promise<void> {
  // Settled when the scope begins; systemd refuses it from then on.
  const changeable = properties.filter(({ name }) => name !== 'OOMPolicy')
  const values = [unit, true, changeable.map(({ name, value }) => [name, value])]
  await call(systemd.connection, 'SetUnitProperties', 'sba(sv)', values).catch((error: unknown) => {
    if (!isAnswer(error, [NO_SUCH_UNIT])) throw inContext(`SetUnitProperties ${unit}`, error)
    throw new TscrunError('NO_SUCH_CONTAINER', `SetUnitProperties ${unit}: there is no such unit`, {
      subject: unit,
      cause: error,
    })
  })
}

/**
 * Ends a unit and waits until systemd is done with it; one that is gone is no error. Processes that are still in it are
 * sent SIGTERM and have 90 s (TimeoutStopUSec), so kill them first.
 */
export async function stopUnit(systemd: Systemd, unit: string): Promise<void> {
  const result = await runJob(systemd, unit, 'StopUnit', 'ss', [unit, 'replace']).catch((error: unknown) => {
    if (!isAnswer(error, [NO_SUCH_UNIT])) throw inContext(`StopUnit ${unit}`, error)
    return 'done'
  })
  await resetFailed(systemd, unit)
  if (result === 'done') return
  throw new TscrunError('SYSTEMD', `StopUnit ${unit}: its job ended with ${JSON.stringify(result)}`, {
    subject: unit,
    hint: HINT,
  })
}

/** Lets systemd forget a unit that failed; one that did not, or is not there, is left alone. */
async function resetFailed({ connection }: Systemd, unit: string): Promise<void> {
  await call(connection, 'ResetFailedUnit', 's', [unit]).catch((error: unknown) => {
    if (!isAnswer(error, [NO_SUCH_UNIT])) throw inContext(`ResetFailedUnit ${unit}`, error)
  })
}

// ---- calls -------------------------------------------------------------------------------------------------------

async function call(
  connection: Connection,
  member: string,
  signature: string,
  values: readonly DbusValue[],
): Promise<Reply> {
  return connection.call({ destination: SYSTEMD, path: SYSTEMD_PATH, interface: MANAGER, member, signature, values })
}

/** Calls a method that queues a job for `unit`, and answers the job's result (`done`, `failed`, `canceled` ...). */
async function runJob(
  { connection }: Systemd,
  unit: string,
  member: string,
  signature: string,
  values: readonly DbusValue[],
): Promise<string> {
  if (!/^[A-Za-z0-9:_.\\@-]+$/.test(unit)) throw malformed(`${JSON.stringify(unit)} is no name of a unit`)
  // A job may be done before the call that queued it is answered.
  const ended: { job: string; result: string; sender: string | undefined }[] = []
  let failure: Error | undefined
  let look = (): void => undefined
  const stop = connection.listen((event) => {
    if (event instanceof Error) failure = event
    else if (isJobRemoved(event)) {
      const [, job, , result] = bodyOf(event) as [number, string, string, string]
      ended.push({ job, result, sender: event.sender })
    }
    look()
  })
  try {
    if (connection.name !== undefined) await addMatch(connection, unit)
    const reply = await call(connection, member, signature, values)
    return await new Promise((resolve, reject) => {
      look = () => {
        // Anyone on the bus may send us a signal of this name; only systemd has the sender of the reply.
        const own = ended.find(({ job, sender }) => job === reply.values[0] && sender === reply.sender)
        if (own) resolve(own.result)
        else if (failure) reject(failure)
      }
      look()
    })
  } finally {
    stop()
  }
}

function isJobRemoved(signal: Received): boolean {
  return signal.interface === MANAGER && signal.member === 'JobRemoved' && signal.signature === 'uoss'
}

/** Between apostrophes every other character stands for itself (D-Bus Specification, Match Rules). */
async function addMatch(connection: Connection, unit: string): Promise<void> {
  const rule = `type='signal',sender='${SYSTEMD}',interface='${MANAGER}',member='JobRemoved',arg2='${unit}'`
  const { call } = connection
  await call({ destination: BUS, path: BUS_PATH, interface: BUS, member: 'AddMatch', signature: 's', values: [rule] })
}

function isAnswer(error: unknown, names: readonly string[]): boolean {
  return error instanceof TscrunError && error.code === 'SYSTEMD' && names.includes(error.subject ?? '')
}

function inUse(unit: string, cause: unknown): TscrunError {
  return new TscrunError('NAME_IN_USE', `StartTransientUnit ${unit}: a unit of this name is there already`, {
    subject: unit,
    hint: `systemctl status ${unit}; another container id or linux.cgroupsPath gives another name`,
    cause,
  })
}
