import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { OciDeviceRule } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { trySyscall } from '../syscall/call.ts'
import { processStat } from '../syscall/process.ts'
import type { HostMount } from './host-mounts.ts'

/**
 * The containers of an OCI runtime, as files. Each has a directory below `--root`, made by `create` and removed by
 * `delete`; whoever changes the container holds a flock(2) on it. `state.json` says who its first process is; what that
 * process is doing is asked of the kernel, each time.
 */

/** `--root`; callers have one of their own each. */
export const DEFAULT_ROOT = '/run/tscrun-runtime'

/** state.json. */
export interface ContainerState {
  readonly version: 1
  readonly ociVersion: string
  readonly id: string
  /** Absolute. */
  readonly bundle: string
  /** Absolute. */
  readonly rootfs: string
  readonly createdMs: number
  /** Name of the user who made it. */
  readonly owner: string
  readonly annotations: Readonly<Record<string, string>>
  /** Absolute directory of its cgroup. */
  readonly cgroup?: string
  /** The systemd unit that the cgroup is of. */
  readonly unit?: string
  /** False: its processes have the session keyring of whoever made it (`--no-new-keyring`). */
  readonly keyring?: boolean
  /** Device rules of the last `update` that had some; before, those of config.json are in force. */
  readonly devices?: readonly OciDeviceRule[]
  /** A group of resctrl that was made for it. */
  readonly resctrl?: string
  /** Without a mount namespace: where its mounts lie among the host's. */
  readonly hostMount?: HostMount
  /** Its first process: with the start time (clock ticks) it is that one for ever. Absent until it is there. */
  readonly pid?: number
  readonly startTime?: number
}

/** What a container is doing (runtime.md, State). */
export type Status =
  | { readonly status: 'creating' }
  | { readonly status: 'created' | 'running' | 'paused'; readonly pid: number; readonly startTime: number }
  | { readonly status: 'stopped' }

export interface ContainerPaths {
  readonly directory: string
  readonly state: string
  readonly config: string
  /** Where the first process waits for `start`. */
  readonly gate: string
  /** The steps it still has to do, for the words of a failure. */
  readonly remaining: string
  /** What the launcher knows of it (brief.ts). */
  readonly brief: string
}

export function containerPaths(root: string, id: string): ContainerPaths {
  const directory = join(root, checkId(id))
  return {
    directory,
    state: join(directory, 'state.json'),
    config: join(directory, 'config.json'),
    gate: join(directory, 'gate'),
    remaining: join(directory, 'remaining.json'),
    brief: join(directory, 'brief'),
  }
}

/** Ids become names of directories and cgroups. Throws USAGE. */
function checkId(id: string): string {
  if (/^[\w+.-]{1,255}$/.test(id) && id !== '.' && id !== '..') return id
  throw new TscrunError('USAGE', `container id ${JSON.stringify(id)}: invalid`, {
    subject: id,
    hint: 'up to 255 letters, digits and any of _ + - .',
  })
}

/** Makes the directory of a new container and holds its lock. Throws NAME_IN_USE. */
export function claimContainer(root: string, id: string): { readonly paths: ContainerPaths; readonly lock: number } {
  const paths = containerPaths(root, id)
  mkdirSync(root, { recursive: true, mode: 0o711 })
  for (;;) {
    makeDirectory(paths.directory, id)
    const lock = lockDirectory(paths.directory, LOCK_EX)
    if (lock !== undefined) return { paths, lock }
    // A `delete --force` found it empty in between, a leftover as it seemed.
  }
}

function makeDirectory(directory: string, id: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    throw new TscrunError('NAME_IN_USE', `container with id ${id} already exists`, {
      subject: id,
      hint: '`delete` it first, or choose another id',
    })
  }
}

/** Runs an action while nobody else changes the container. Throws NO_SUCH_CONTAINER. */
export async function withLock<T>(root: string, id: string, action: (paths: ContainerPaths) => Promise<T>): Promise<T> {
  const paths = containerPaths(root, id)
  const lock = lockDirectory(paths.directory, LOCK_EX)
  if (lock === undefined) throw noSuchContainer(id)
  try {
    return await action(paths)
  } finally {
    closeSync(lock)
  }
}

const LOCK_EX = 2
const LOCK_NB = 4

/** Undefined where there is no such directory, or there is another one by now; with LOCK_NB also where somebody has it. */
function lockDirectory(directory: string, operation: number): number | undefined {
  let fd: number
  try {
    fd = openSync(directory, 'r')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  const locked = trySyscall('flock', [fd, operation]) === 0
  if (locked && statSync(directory, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd
  closeSync(fd)
  return undefined
}

/** Whether the `create` that made the directory has ended without having made a container in it. */
export function isAbandoned(root: string, id: string): boolean {
  const lock = lockDirectory(containerPaths(root, id).directory, LOCK_EX | LOCK_NB)
  if (lock === undefined) return false
  closeSync(lock)
  return true
}

/** The words that callers look for are `does not exist`. */
export function noSuchContainer(id: string): TscrunError {
  return new TscrunError('NO_SUCH_CONTAINER', `container ${JSON.stringify(id)} does not exist`, { subject: id })
}

/** Reads state.json. Throws NO_SUCH_CONTAINER. */
export function readState(root: string, id: string): ContainerState {
  try {
    return JSON.parse(readFileSync(containerPaths(root, id).state, 'utf8')) as ContainerState
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw noSuchContainer(id)
    throw error
  }
}

/** Under another name first: a reader sees the old state or the new one. */
export function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export function removeContainerDirectory(paths: ContainerPaths): void {
  rmSync(paths.directory, { recursive: true, force: true })
}

/** Asks the kernel what the container is doing. */
export function statusOf(root: string, state: ContainerState): Status {
  const { pid, startTime } = state
  if (pid === undefined || startTime === undefined) return { status: 'creating' }
  const stat = processStat(pid)
  // A zombie has only its exit code left, which its parent has not asked for yet.
  if (stat?.startTime !== startTime || stat.state === 'Z' || stat.state === 'X') return { status: 'stopped' }
  // First, whatever else it is: nobody at the gate answers while it is frozen.
  if (isFrozen(state.cgroup)) return { status: 'paused', pid, startTime }
  return { status: isAtGate(root, state.id, pid) ? 'created' : 'running', pid, startTime }
}

/** Before its exec it is our own program, a file in memory; after `start` nobody listens at the gate any more. */
function isAtGate(root: string, id: string, pid: number): boolean {
  try {
    return (
      readlinkSync(`/proc/${pid}/exe`).startsWith('/memfd:tscrun') &&
      statSync(containerPaths(root, id).gate, { throwIfNoEntry: false }) !== undefined
    )
  } catch (error) {
    // It ends just now.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false
    throw error
  }
}

function isFrozen(cgroup: string | undefined): boolean {
  if (cgroup === undefined) return false
  try {
    return /^frozen 1$/m.test(readFileSync(join(cgroup, 'cgroup.events'), 'latin1'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return false
    throw error
  }
}
