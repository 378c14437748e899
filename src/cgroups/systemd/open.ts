import { lstatSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { SYSTEM_BUS, unixSockets } from './address.ts'
import { type Connection, openConnection } from './connection.ts'
import { inContext, malformed } from './error.ts'
import type { DbusValue } from './signature.ts'

export const BUS = 'org.freedesktop.DBus'
export const SYSTEMD = 'org.freedesktop.systemd1'
export const SYSTEMD_PATH = '/org/freedesktop/systemd1'
export const MANAGER = `${SYSTEMD}.Manager`
/** What helps where systemd or its bus does not answer. */
export const HINT = 'systemctl status dbus; journalctl -b'

/** Where systemd listens itself; only root may connect. */
const PRIVATE_SOCKET = '/run/systemd/private'
/** There on every system that systemd has booted (sd_booted(3)). */
const BOOTED = '/run/systemd/system'
const PATIENCE_MS = 30_000

/** A connection to the running systemd; `close` it (or `using`), or the process stays. */
export interface Systemd extends Disposable {
  /** The number before the first dot, such as 252. */
  readonly version: number
  readonly connection: Connection
  readonly close: () => void
}

export interface SystemdOptions {
  readonly signal?: AbortSignal
  /** For all that is done on the connection together; 30 s if not given. */
  readonly timeoutMs?: number
  /** Stands in for `/run/systemd/system`. */
  readonly booted?: string
}

/**
 * Connects to systemd over the system bus (DBUS_SYSTEM_BUS_ADDRESS), or, where no bus runs and we are root, to systemd
 * itself. Throws HOST_UNSUPPORTED where systemd does not run, SYSTEMD where it cannot be reached.
 */
export async function openSystemd({
  signal,
  timeoutMs = PATIENCE_MS,
  booted = BOOTED,
}: SystemdOptions = {}): Promise<Systemd> {
  requireBooted(booted)
  const late = new AbortController()
  const clock = setTimeout(() => {
    late.abort(new TscrunError('SYSTEMD', `no answer in ${timeoutMs / 1000} s`, { hint: HINT }))
  }, timeoutMs)
  let connection: Connection | undefined
  const close = (): void => {
    clearTimeout(clock)
    connection?.close()
  }
  try {
    connection = await connectAnywhere(signal ? AbortSignal.any([signal, late.signal]) : late.signal)
    const text = await property(connection, SYSTEMD_PATH, MANAGER, 'Version')
    const version = typeof text === 'string' ? Number(/^v?([0-9]{1,5})/.exec(text)?.[1]) : Number.NaN
    if (!(version > 0)) throw malformed(`systemd of version ${JSON.stringify(text)}`)
    return { version, connection, close, [Symbol.dispose]: close }
  } catch (error) {
    close()
    throw inContext('systemd', error)
  }
}

function requireBooted(directory: string): void {
  try {
    if (lstatSync(directory).isDirectory()) return
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error
  }
  throw new TscrunError('HOST_UNSUPPORTED', `--systemd-cgroup: systemd is not running here (no ${directory})`, {
    subject: directory,
    hint: 'leave --systemd-cgroup out',
  })
}

async function connectAnywhere(signal: AbortSignal): Promise<Connection> {
  const own = process.env['DBUS_SYSTEM_BUS_ADDRESS']
  const sockets = unixSockets(own === undefined || own === '' ? SYSTEM_BUS : own).map((path) => ({ path, bus: true }))
  if (process.geteuid?.() === 0) sockets.push({ path: PRIVATE_SOCKET, bus: false })
  let failure: unknown
  for (const { path, bus } of sockets) {
    try {
      return await openConnection(path, { bus, signal })
    } catch (error) {
      if (error instanceof TscrunError || signal.aborted) throw error
      // Nobody there: the next one.
      failure ??= error
    }
  }
  const path = sockets[0]?.path.replace('\0', '@') ?? ''
  const errno = errnoOf(failure) ?? String(failure)
  throw new TscrunError('SYSTEMD', `connect ${path}: ${errno}`, {
    syscall: 'connect',
    errno,
    subject: path,
    hint: HINT,
  })
}

/** One property of one of systemd's objects. */
export async function property(connection: Connection, path: string, owner: string, name: string): Promise<DbusValue> {
  const { values } = await connection.call({
    destination: SYSTEMD,
    path,
    interface: `${BUS}.Properties`,
    member: 'Get',
    signature: 'ss',
    values: [owner, name],
  })
  const [variant] = values
  if (typeof variant !== 'object' || !('signature' in variant)) throw malformed(`no value of property ${name}`)
  return variant.value
}
