import { closeSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { prepareCgroupParent } from '../cgroups/prepare.ts'
import { removeCgroup } from '../cgroups/remove.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { DetachedLaunch, LaunchSpec, LogOptions, RestartPolicy } from '../model/launch.ts'
import type { DetachedOptions, RunOptions } from '../model/run-options.ts'
import { compile } from '../plan/compile.ts'
import { hostFacts } from '../runtime/host.ts'
import { launch, type StartedProcess } from '../runtime/launch.ts'
import { closeFd } from '../syscall/process.ts'
import { listenUnix } from '../syscall/socket.ts'
import { placeCgroup } from './cgroup.ts'
import {
  createContainerDirectory,
  deleteContainer,
  finishContainer,
  type HeldContainer,
  lockDirectory,
  writeRecord,
} from './containers.ts'
import type { ContainerView } from './containers-view.ts'
import { removeExitFile } from './exit-file.ts'
import { type IdRange, readPool, takeRange } from './id-range.ts'
import type { EnginePaths } from './paths.ts'
import type { PreparedContainer } from './prepare.ts'
import type { ContainerRecord, StoredLaunch } from './record.ts'
import { recordOf, stepPrinter, withLock, writeCidfile } from './start.ts'

/** Where the monitor of a container listens. */
export function monitorSocket(paths: EnginePaths, id: string): string {
  return join(paths.runRoot, id, 'monitor')
}

export interface DetachedStart {
  readonly run: RunOptions & DetachedOptions
  readonly cidfile?: string
  readonly onDebug?: (line: string) => void
}

/** A log grows to two files of 10 MiB: nobody reads it on a machine whose disk it has filled. */
const DEFAULT_LOG: LogOptions = { driver: 'k8s-file', maxSize: 10 * 2 ** 20, maxFiles: 2 }
const NO_RESTART: RestartPolicy = { name: 'no', most: 0 }

/** Makes and starts a container that outlives this process. Resolves to its id when the command runs. */
export async function startDetached(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: DetachedStart,
): Promise<string> {
  const held = createContainerDirectory(paths, prepared.id, prepared.name)
  let record: ContainerRecord | undefined
  let idRange: IdRange | undefined
  try {
    idRange = prepared.ownUser ? takeRange(paths.ranges, held.id, readPool()) : undefined
    const { tty = false, interactive = false } = options.run
    const stdio = { kind: 'logged', terminal: tty, interactive } as const
    const spec = prepared.spec({ stdio, ...(idRange === undefined ? {} : { idRange }) })
    const stored = storedLaunch(spec, options.run)
    const cgroup = placeCgroup(held.id, spec.config)
    const complete = cgroup === undefined ? spec : { ...spec, cgroup }
    record = { ...recordOf(prepared, options.run, complete, idRange), launch: stored }
    if (options.cidfile !== undefined) writeCidfile(options.cidfile, held.id)
    writeRecord(paths, record)
    await launchDetached(paths, held, record, complete, options.onDebug)
    return held.id
  } catch (error) {
    if (record?.cgroup !== undefined) await removeCgroup(record.cgroup)
    deleteContainer(paths, held, record ?? { name: prepared.name, ...(idRange === undefined ? {} : { idRange }) })
    throw error
  }
}

/** `start`: the same container once more, with what it has written. Throws CONTAINER_STATE where it runs. */
export async function startAgain(
  paths: EnginePaths,
  { record, status }: ContainerView,
  onDebug?: (line: string) => void,
): Promise<void> {
  const lockFd = status === 'stopped' ? lockDirectory(join(paths.containers, record.id)) : undefined
  if (lockFd === undefined || record.launch === undefined) {
    if (lockFd !== undefined) closeSync(lockFd)
    throw new TscrunError('CONTAINER_STATE', `start ${record.name}: it is ${status}`, {
      subject: record.name,
      hint: status === 'stopped' ? 'it was made by an older tscrun: run it anew' : 'it needs no start',
    })
  }
  const held: HeldContainer = { id: record.id, directory: join(paths.containers, record.id), lockFd }
  const { exit, ...again } = record
  try {
    removeExitFile(paths, record.id)
    rmSync(join(paths.runRoot, record.id), { recursive: true, force: true })
    mkdirSync(join(paths.runRoot, record.id), { recursive: true, mode: 0o700 })
    const cgroup = placeCgroup(record.id, record.config)
    const spec = specOf(record, record.launch, held.directory)
    writeRecord(paths, again)
    await launchDetached(paths, held, again, cgroup === undefined ? spec : { ...spec, cgroup }, onDebug)
  } catch (error) {
    const failed = { exitCode: 125, oomKilled: false, finishedMs: Date.now(), error: (error as Error).message }
    finishContainer(paths, held, again, failed)
    throw error
  }
}

async function launchDetached(
  paths: EnginePaths,
  held: HeldContainer,
  record: ContainerRecord,
  spec: LaunchSpec,
  onDebug: ((line: string) => void) | undefined,
): Promise<StartedProcess> {
  const plan = withLock(compile({ ...spec, detach: detachOf(paths, record) }))
  const listener = listenUnix(monitorSocket(paths, held.id), 'seqpacket')
  const launched = launch(plan, {
    title: `tscrun: ${record.name}`,
    fds: [listener, held.lockFd],
    workdir: spec.config.process?.cwd ?? '/',
    ...(onDebug === undefined ? {} : { onStep: stepPrinter(plan, onDebug) }),
  })
  try {
    const started = await launched.started
    launched.leave()
    closeSync(held.lockFd)
    return started
  } catch (error) {
    // Its monitor removes what it made before it ends.
    await launched.released
    throw error
  } finally {
    closeFd(listener)
  }
}

function detachOf(paths: EnginePaths, record: ContainerRecord): DetachedLaunch {
  const monitors = monitorsCgroup()
  const links = [
    join(paths.names, record.name),
    ...(record.idRange === undefined ? [] : [join(paths.ranges, String(record.idRange.hostId))]),
  ]
  return {
    runDirectory: join(paths.runRoot, record.id),
    log: record.launch?.log ?? DEFAULT_LOG,
    restart: record.launch?.restart ?? NO_RESTART,
    ...(monitors === undefined ? {} : { monitors }),
    ...(record.remove ? { remove: { links } } : {}),
  }
}

/** Monitors have a cgroup beside their containers': the end of the caller's service is not theirs. */
function monitorsCgroup(): string | undefined {
  const facts = hostFacts().cgroup
  if (facts.mountpoint === undefined || facts.readonly) return undefined
  const path = join(prepareCgroupParent(facts, []), 'monitors')
  try {
    mkdirSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
  return path
}

function storedLaunch(spec: LaunchSpec, run: RunOptions & DetachedOptions): StoredLaunch {
  const { rootfs, files, init, seccomp } = spec
  return {
    rootfs,
    files,
    init,
    interactive: run.interactive === true,
    log: run.log ?? DEFAULT_LOG,
    restart: run.restart ?? NO_RESTART,
    ...(seccomp === undefined
      ? {}
      : { seccomp: { program: Buffer.from(seccomp.program).toString('base64'), flags: seccomp.flags } }),
  }
}

function specOf(record: ContainerRecord, stored: StoredLaunch, directory: string): LaunchSpec {
  const { rootfs, files, init, interactive, seccomp } = stored
  return {
    id: record.id,
    config: record.config,
    directory,
    rootfs,
    files,
    init,
    stdio: { kind: 'logged', terminal: record.config.process?.terminal === true, interactive },
    kernel: hostFacts().kernel,
    ...(seccomp === undefined
      ? {}
      : { seccomp: { program: Buffer.from(seccomp.program, 'base64'), flags: seccomp.flags } }),
  }
}
