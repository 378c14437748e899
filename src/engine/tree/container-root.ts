import { closeSync } from 'node:fs'
import { join } from 'node:path'
import type { Owners } from '../../archive/owners.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { RootfsSource } from '../../model/launch.ts'
import { CLONE, O, OPEN_TREE_CLONE } from '../../model/linux.ts'
import type { FdSlot, Step } from '../../model/step.ts'
import { hostId, mapLines, rootId } from '../../namespaces/select.ts'
import { overlaySteps } from '../../overlayfs/steps.ts'
import { hostFacts } from '../../runtime/host.ts'
import { makeByStage } from '../../runtime/run-steps.ts'
import { SyscallError } from '../../syscall/errno.ts'
import { closeFd, openProcess, startTimeOf } from '../../syscall/process.ts'
import { openPlace } from '../../syscall/at.ts'
import { lockSoon } from '../state/directory-lock.ts'
import { type ContainerView, findContainer, noSuchContainer } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord, LiveState } from '../state/record.ts'
import { sweep } from '../state/sweep.ts'

/**
 * A container's root filesystem as one descriptor, to be walked from the host: nothing of the container is ever run or
 * loaded for it (CVE-2019-14271). While it is held nobody starts or removes a container that does not run.
 */
export interface ContainerRoot extends Disposable {
  readonly fd: number
  readonly owners: Owners
  readonly record: ContainerRecord
  /** It runs: what is mounted in it is in sight, if asked for. */
  readonly running: boolean
}

export interface RootOptions {
  /** What the message calls it: `export`. */
  readonly verb: string
  /** Show volumes, /proc and whatever else is mounted in it while it runs; else its own files alone. */
  readonly mounts: boolean
}

/** Throws CONTAINER_STATE where what it wrote is gone with its end. */
export async function openContainerRoot(
  paths: EnginePaths,
  idOrName: string,
  options: RootOptions,
): Promise<ContainerRoot> {
  await sweep(paths, 'live')
  const view = findContainer(paths, idOrName)
  if (view.status === 'running' || view.status === 'paused' || view.status === 'restarting')
    return rootOfRunning(view, requireLive(view, options), options)
  const { record } = view
  const lockFd = await lockUnlessGone(paths, record)
  if (lockFd === undefined) throw busy(options.verb, record.name)
  try {
    const fd = rootOfStopped(paths, record, options.verb)
    return rootOf({ fd, record, running: false, onClose: () => closeSync(lockFd) })
  } catch (error) {
    closeSync(lockFd)
    throw error
  }
}

async function lockUnlessGone(paths: EnginePaths, { id, name }: ContainerRecord): Promise<number | undefined> {
  try {
    return await lockSoon(join(paths.containers, id))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw noSuchContainer(name)
    throw error
  }
}

export function ownersOf({ config }: ContainerRecord): Owners {
  return { uids: config.linux?.uidMappings ?? [], gids: config.linux?.gidMappings ?? [] }
}

interface Made {
  readonly fd: number
  readonly record: ContainerRecord
  readonly running: boolean
  readonly onClose?: () => void
}

function rootOf({ fd, record, running, onClose }: Made): ContainerRoot {
  const literal = !running && record.launch?.rootfs.kind === 'directory'
  let open = true
  return {
    fd,
    record,
    running,
    // A directory of the host that nothing is mounted over is seen with the ids it has on the disk.
    owners: literal ? { uids: [], gids: [] } : ownersOf(record),
    [Symbol.dispose]: () => {
      if (!open) return
      open = false
      closeFd(fd)
      onClose?.()
    },
  }
}

function requireLive({ live, record }: ContainerView, { verb }: RootOptions): LiveState {
  if (live !== undefined) return live
  throw busy(verb, record.name)
}

function busy(verb: string, name: string): TscrunError {
  return new TscrunError('CONTAINER_STATE', `${verb} ${name}: another command is starting it or at work on it`, {
    subject: name,
    hint: 'try again in a moment',
  })
}

/** The pidfd holds the identity: what /proc says between the two looks at the start time is said of this process. */
function rootOfRunning(
  { record }: ContainerView,
  { pid, startTime }: LiveState,
  { mounts, verb }: RootOptions,
): ContainerRoot {
  const pidfd = openProcess(pid, startTime, `${verb} ${record.name}: the container has ended`)
  try {
    const fd = mounts
      ? openPlace(`/proc/${pid}/root`)
      : makeByStage(ownFilesSteps(pid), ROOTFS, `tscrun: ${verb} ${record.name}`)
    if (startTimeOf(pid) === startTime) return rootOf({ fd, record, running: true })
    closeFd(fd)
  } catch (error) {
    if (!(error instanceof SyscallError) || errnoOf(error) !== 'ENOENT') throw error
  } finally {
    closeFd(pidfd)
  }
  throw new TscrunError('CONTAINER_STATE', `${verb} ${record.name}: it ends just now`, { subject: record.name })
}

const ROOTFS: FdSlot = 'fd:rootfs'

/** A clone of the mount at the container's root, without those below it; only from within its mount namespace. */
function ownFilesSteps(pid: number): Step[] {
  const namespace: FdSlot = 'fd:mounts'
  const path = `/proc/${pid}/ns/mnt`
  return [
    { op: 'open', fd: namespace, dir: 'cwd', path, flags: O.RDONLY, mode: 0, resolve: 0 },
    { op: 'setns', namespace, type: CLONE.NEWNS, about: "enter the container's mounts" },
    { op: 'open_tree', fd: ROOTFS, dir: 'cwd', path: '/', flags: OPEN_TREE_CLONE },
  ]
}

function rootOfStopped(paths: EnginePaths, record: ContainerRecord, verb: string): number {
  const rootfs = storedRootfs(record, verb)
  if (rootfs.kind === 'directory') return openPlace(rootfs.path)
  if (rootfs.upper === 'tmpfs') throw inMemory(verb, record)
  const { uidMappings, gidMappings } = record.config.linux ?? {}
  const directory = join(paths.containers, record.id)
  const make = overlaySteps(rootfs, {
    directory,
    rootUid: hostId(uidMappings, rootId(uidMappings)) ?? 0,
    rootGid: hostId(gidMappings, rootId(gidMappings)) ?? 0,
    kernel: hostFacts().kernel,
  }).make
  const steps: Step[] = [
    { op: 'umask', mask: 0 },
    { op: 'open', fd: 'fd:directory', dir: 'cwd', path: directory, flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0 },
    ...(rootfs.idmap
      ? [
          {
            op: 'id_view',
            view: 'fd:userns',
            uids: mapLines(uidMappings ?? []),
            gids: mapLines(gidMappings ?? []),
          } as const,
        ]
      : []),
    ...make,
  ]
  return makeByStage(steps, ROOTFS, `tscrun: ${verb} ${record.name}`)
}

/** Throws CONTAINER_STATE where an older tscrun made it. */
export function storedRootfs(record: ContainerRecord, verb: string): RootfsSource {
  if (record.launch !== undefined) return record.launch.rootfs
  throw new TscrunError('CONTAINER_STATE', `${verb} ${record.name}: it was made by an older tscrun`, {
    subject: record.name,
    hint: 'run it anew',
  })
}

function inMemory(verb: string, record: ContainerRecord): TscrunError {
  return new TscrunError(
    'CONTAINER_STATE',
    `${verb} ${record.name}: what it wrote was kept in memory, and ended with it`,
    {
      subject: record.name,
      hint: 'do it while the container runs',
    },
  )
}
