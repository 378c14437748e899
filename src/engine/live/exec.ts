import { closeSync, openSync } from 'node:fs'
import type { OciCapabilities, OciProcess } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Stdio } from '../../model/launch.ts'
import type { FdSlot, Plan } from '../../model/step.ts'
import { compileExec, type ExecSpec } from '../../plan/compile-exec.ts'
import { inheritedFds } from '../../plan/inherited.ts'
import { readAccounts } from '../../rootfs/accounts.ts'
import { resolveUser } from '../../rootfs/user.ts'
import { ownCapabilities } from '../../runtime/host.ts'
import { namespacesToJoin } from '../../runtime/join.ts'
import { type ContainerExit, launch, type Launched, type LaunchOptions } from '../../runtime/launch.ts'
import { CAPABILITIES } from '../../security/capabilities.ts'
import { closeFd, openProcess } from '../../syscall/process.ts'
import { randomId } from '../../syscall/random.ts'
import { terminalSize } from '../../syscall/terminal.ts'
import { type ContainerView, findContainer } from '../state/containers-view.ts'
import type { WatchedExec } from '../../plan/detach.ts'
import { eventLaunch } from '../events/launch.ts'
import { containerEvent, writeEvents } from '../events/log.ts'
import { monitorsCgroup } from '../start/monitors-cgroup.ts'
import type { EnginePaths } from '../paths.ts'
import type { LiveState } from '../state/record.ts'
import type { StreamEnds } from '../start/run.ts'

/** One more command in a container that runs. */
export interface ExecOptions {
  /** `NAME=value` each, beside the container's own. */
  readonly env?: readonly string[]
  /** Instead of the container's user: `user`, `uid`, `user:group`, `uid:gid`. */
  readonly user?: string
  readonly workdir?: string
  /** All capabilities that the container's user namespace has, and no seccomp filter. */
  readonly privileged?: boolean
  readonly tty?: boolean
  readonly interactive?: boolean
}

export interface ExecStreams {
  /** The caller's 0, 1 and 2, or pipes in their place. */
  readonly fds: readonly [number, number, number]
  readonly onLaunched?: (launched: Launched) => void
}

/** Runs a command in a container, and resolves to how it ended. Throws CONTAINER_STATE, or what kept it from running. */
export async function execContainer(
  paths: EnginePaths,
  idOrName: string,
  args: readonly string[],
  { options, streams }: { readonly options: ExecOptions; readonly streams: ExecStreams },
): Promise<ContainerExit> {
  const { tty = false, interactive = false } = options
  const stdio: Stdio = tty
    ? { kind: 'terminal', interactive, ...terminalSize([0, 1]) }
    : { kind: 'copied', interactive: true }
  const [stdin, stdout, stderr] = streams.fds
  // The container's own /dev/null may be something else by now.
  using nothing = interactive ? undefined : openNothing()
  const given: [FdSlot, number][] = [
    ['fd:in', nothing?.fd ?? stdin],
    ['fd:out', stdout],
    ['fd:err', stderr],
  ]
  return await inContainer(
    paths,
    idOrName,
    { args, options, stdio, detached: false },
    async (plan, target, workdir, died) => {
      const launched = launchWith(plan, idOrName, { given, target, workdir })
      streams.onLaunched?.(launched)
      return endOf(launched, died)
    },
  )
}

/** The same with descriptors of the caller's as its streams, which nobody copies: a running command, for a program. */
export function execWithStreams(
  paths: EnginePaths,
  idOrName: string,
  args: readonly string[],
  { options, ends }: { readonly options: ExecOptions; readonly ends: StreamEnds },
): Promise<{ readonly launched: Launched; readonly ended: Promise<ContainerExit> }> {
  using nothing = ends.interactive ? undefined : openNothing()
  const fds = [...(nothing === undefined ? [] : [nothing.fd]), ...ends.fds]
  const given = INHERITED.map((slot, index): [FdSlot, number] => [slot, fds[index] ?? -1])
  const stdio: Stdio = { kind: 'inherited', give: [false, true, true] }
  return inContainer(
    paths,
    idOrName,
    { args, options, stdio, detached: false },
    async (plan, target, workdir, died) => {
      const launched = launchWith(plan, idOrName, { given, target, workdir })
      const ended = endOf(launched, died)
      // One that could not begin is told of when nothing of it is left.
      await launched.started.catch(() => ended)
      return { launched, ended }
    },
  )
}

/** The same without waiting for its end: it has no streams, and goes on when this process ends. */
export async function execDetached(
  paths: EnginePaths,
  idOrName: string,
  args: readonly string[],
  options: ExecOptions,
): Promise<void> {
  using nothing = openNothing()
  const stdio: Stdio = { kind: 'inherited', give: [false, false, false] }
  await inContainer(paths, idOrName, { args, options, stdio, detached: true }, async (plan, target, workdir) => {
    const given = INHERITED.map((slot): [FdSlot, number] => [slot, nothing.fd])
    const launched = launchWith(plan, idOrName, { given, target, workdir, lifetime: 'long' })
    try {
      await launched.started
      launched.leave()
    } catch (error) {
      await launched.released
      throw error
    }
  })
}

/** The slots of streams that nobody copies. */
const INHERITED = ['fd:stdin', 'fd:stdout', 'fd:stderr'] as const

interface Beside extends Pick<LaunchOptions, 'workdir' | 'lifetime'> {
  /** The streams. */
  readonly given: readonly (readonly [FdSlot, number])[]
  /** A descriptor of the container's first process. */
  readonly target: number
}

function launchWith(plan: Plan, idOrName: string, { given, target, ...how }: Beside): Launched {
  const fds = inheritedFds(plan, new Map([...given, ['fd:target', target]]))
  return launch(plan, { title: `tscrun: exec ${idOrName}`, fds, ...how })
}

/** Settles when everything of it is gone. */
async function endOf(launched: Launched, died: (exitCode: number) => void): Promise<ContainerExit> {
  try {
    const exit = await launched.exited
    died(exit.exitCode)
    return exit
  } finally {
    await launched.released
  }
}

function openNothing(): Disposable & { readonly fd: number } {
  const fd = openSync('/dev/null', 'r+')
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

interface Request {
  readonly args: readonly string[]
  readonly options: ExecOptions
  readonly stdio: Stdio
  readonly detached: boolean
}

async function inContainer<T>(
  paths: EnginePaths,
  idOrName: string,
  request: Request,
  run: (plan: Plan, target: number, workdir: string, died: (exitCode: number) => void) => Promise<T>,
): Promise<T> {
  const view = findContainer(paths, idOrName)
  const live = requireRunning(view, idOrName)
  const process = processOf(view, live.pid, request)
  const target = openProcess(live.pid, live.startTime, `exec ${idOrName}: the container has ended`)
  try {
    const execID = randomId()
    const plain = execSpec(view, live.pid, process, request)
    const spec = request.detached ? { ...plain, watched: watchedBy(paths, view, execID) } : plain
    const died = tellExec(paths, view, request.args, execID)
    try {
      return await run(compileExec(spec), target, process.cwd, died)
    } catch (error) {
      if (error instanceof TscrunError) died(error.exitCode)
      throw error
    }
  } finally {
    closeFd(target)
  }
}

/** Tells of the command that begins; answers with what tells of its end, which of one in the background its monitor does. */
function tellExec(
  paths: EnginePaths,
  { record }: ContainerView,
  args: readonly string[],
  execID: string,
): (exitCode: number) => void {
  const words = args.join(' ')
  const begin = ['exec_create', 'exec_start'].map((verb) => containerEvent(record, `${verb}: ${words}`, { execID }))
  writeEvents(paths, begin)
  return (exitCode) => writeEvents(paths, [containerEvent(record, 'exec_die', { execID, exitCode: String(exitCode) })])
}

function watchedBy(paths: EnginePaths, { record }: ContainerView, execID: string): WatchedExec {
  const monitors = monitorsCgroup()
  const { path, name, attributes } = eventLaunch(paths, record, false)
  const all = `${attributes === '' ? '' : `${attributes},`}"execID":"${execID}"`
  return {
    ...(monitors === undefined ? {} : { monitors }),
    events: { path, id: record.id, name, attributes: all },
  }
}

const EXEC_HINTS: Readonly<Record<ContainerView['status'], string>> = {
  running: 'it has just begun, or ends: try again',
  paused: '`tscrun unpause` lets it go on',
  restarting: 'its restart policy starts it again soon',
  created: '`tscrun start` starts it',
  stopped: '`tscrun start` starts it',
}

function requireRunning({ status, live }: ContainerView, name: string): LiveState {
  if (status === 'running' && live !== undefined) return live
  throw new TscrunError('CONTAINER_STATE', `exec ${name}: the container is ${status}`, {
    subject: name,
    hint: EXEC_HINTS[status],
  })
}

function processOf({ record }: ContainerView, pid: number, { args, options }: Request): OciProcess {
  const { process } = record.config
  if (process === undefined) throw new RangeError('a record without a process')
  const other = options.user === undefined ? undefined : userIn(pid, options.user)
  const env = [
    ...(process.env ?? []),
    ...(other === undefined ? [] : homeOf(pid, process, other.home)),
    ...(options.tty === true ? ['TERM=xterm'] : []),
    ...(options.env ?? []),
  ]
  return {
    ...process,
    args,
    env: lastOfEach(env),
    cwd: options.workdir ?? process.cwd,
    terminal: options.tty === true,
    ...(other === undefined ? {} : { user: { ...process.user, ...other.ids } }),
    ...(options.privileged === true ? { capabilities: everyCapability(record) } : capabilitiesFor(process, options)),
  }
}

/** Of several values of a variable the last one counts. */
function lastOfEach(env: readonly string[]): string[] {
  return [...new Map(env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry])).values()]
}

/** By the accounts the container has now, read below its root as every path of a container is. */
function userIn(
  pid: number,
  text: string,
): { readonly ids: Pick<OciProcess['user'], 'uid' | 'gid' | 'additionalGids'>; readonly home: string } {
  const { home, ...ids } = resolveUser(text, ...readAccounts([`/proc/${pid}/root`]))
  return { ids, home }
}

/** Another user has another home, unless somebody chose the container's: the image, or a flag of `run`. */
function homeOf(pid: number, { env = [], user }: OciProcess, home: string): string[] {
  const given = env.find((entry) => entry.startsWith('HOME='))
  const chosen = given !== undefined && given !== `HOME=${userIn(pid, String(user.uid)).home}`
  return chosen || home.includes('\0') ? [] : [`HOME=${home}`]
}

/** Another user than the container's: root has its capabilities, anybody else none, as after a login. */
function capabilitiesFor(process: OciProcess, { user }: ExecOptions): { capabilities?: OciCapabilities } {
  const { bounding = [] } = process.capabilities ?? {}
  if (user === undefined) return {}
  const isRoot = /^(?:root|0+)(?::|$)/.test(user)
  return { capabilities: isRoot ? { bounding, effective: bounding, permitted: bounding } : { bounding } }
}

function everyCapability({ config }: ContainerView['record']): OciCapabilities {
  const ownUser = config.linux?.namespaces?.some(({ type }) => type === 'user') === true
  const all = ownUser ? CAPABILITIES : ownCapabilities()
  return { bounding: all, effective: all, permitted: all }
}

function execSpec({ record }: ContainerView, pid: number, process: OciProcess, request: Request): ExecSpec {
  const seccomp = request.options.privileged === true ? undefined : record.launch?.seccomp
  return {
    process,
    namespaces: namespacesToJoin(pid),
    uidMappings: record.config.linux?.uidMappings ?? [],
    gidMappings: record.config.linux?.gidMappings ?? [],
    stdio: request.stdio,
    detached: false,
    preserveFds: 0,
    keyring: true,
    pidfdSocket: false,
    chroot: false,
    ...(record.cgroup === undefined ? {} : { cgroup: record.cgroup }),
    ...(seccomp === undefined
      ? {}
      : { seccomp: { program: Buffer.from(seccomp.program, 'base64'), flags: seccomp.flags } }),
  }
}
