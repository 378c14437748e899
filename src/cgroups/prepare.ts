import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { CgroupFacts } from '../model/facts.ts'

/** The cgroup all containers lie in. */
const PARENT = 'tscrun'
/** Where processes go that stand in the way of "no internal processes". */
const SIDE = 'init'
/** Rounds of emptying a cgroup whose processes keep forking. */
const ROUNDS = 50

/**
 * Makes `<mountpoint>/tscrun` with `controllers` handed down to it and to the containers in it; answers its absolute
 * path. Cheap where all is prepared: one read. It lies at the root of the mount, which is the host's or the surrounding
 * container's, and not below tscrun's own cgroup: stopping the caller's service would take the containers with it.
 *
 * cgroup v2 hands controllers down only from a cgroup without processes of its own (its root excepted). Inside a
 * privileged container the root of the mount is such a cgroup with processes in it, tscrun's own among them: they are
 * moved one level down, into `init`. Throws CONTROLLER_UNAVAILABLE or KERNEL_REFUSED in one line.
 */
export function prepareCgroupParent(facts: CgroupFacts, controllers: readonly string[]): string {
  const { mountpoint } = facts
  if (mountpoint === undefined) {
    throw new TscrunError('CONTROLLER_UNAVAILABLE', 'cgroup: no cgroup v2 hierarchy is mounted', {
      hint: 'mount -t cgroup2 none /sys/fs/cgroup, or run without limits',
    })
  }
  const path = join(mountpoint, PARENT)
  const missing = notHandedDown(path, controllers)
  if (missing.length === 0 && existsSync(path)) return path
  if (facts.readonly) {
    throw new TscrunError('CONTROLLER_UNAVAILABLE', `cgroup ${mountpoint}: mounted read-only`, {
      subject: mountpoint,
      errno: 'EROFS',
      hint: 'run the surrounding container with --privileged, or this one without limits',
    })
  }
  const levels = levelsBelow(mountpoint, path)
  for (const level of levels) {
    if (level !== mountpoint) makeDirectory(level)
    enable(level, controllers)
  }
  return path
}

/**
 * Makes the cgroup `path` (from the mount's root) that an OCI runtime's caller has named the parent, and answers its
 * absolute path. Every controller that is there is handed down to what will be in it; nobody's processes are moved, as the
 * cgroups are the caller's. Throws CONTROLLER_UNAVAILABLE where one of `needed` cannot be handed down.
 */
export function prepareCallersParent(facts: CgroupFacts, path: string, needed: readonly string[]): string {
  const { mountpoint } = facts
  if (mountpoint === undefined) throw new RangeError('no cgroup v2 is mounted')
  const parent = join(mountpoint, path)
  for (const level of levelsBelow(mountpoint, parent)) {
    if (level !== mountpoint) makeDirectory(level)
    for (const controller of notHandedDown(level, readWords(join(level, 'cgroup.controllers')))) {
      const file = join(level, 'cgroup.subtree_control')
      try {
        writeFileSync(file, `+${controller}`)
      } catch (error) {
        if (needed.includes(controller)) throw refused('write', file, error)
        if (!['EBUSY', 'ENOTSUP', 'EOPNOTSUPP', 'EACCES', 'EROFS'].includes(errnoOf(error) ?? '')) throw error
      }
    }
  }
  const absent = notHandedDown(parent, needed)[0]
  if (absent === undefined) return parent
  throw new TscrunError(
    'CONTROLLER_UNAVAILABLE',
    `cgroup ${parent}: the ${absent} controller is not handed down to it`,
    {
      subject: absent,
      hint: 'the cgroups above must have it in their cgroup.subtree_control',
    },
  )
}

/** The cgroups from the mount point down to `path`, both included. */
function levelsBelow(mountpoint: string, path: string): string[] {
  const names = path
    .slice(mountpoint.length)
    .split('/')
    .filter((name) => name !== '')
  return names.reduce<string[]>((levels, name) => [...levels, join(levels.at(-1) ?? mountpoint, name)], [mountpoint])
}

function notHandedDown(path: string, controllers: readonly string[]): string[] {
  if (controllers.length === 0) return []
  const enabled = readWords(join(path, 'cgroup.subtree_control'))
  return controllers.filter((name) => !enabled.includes(name))
}

/** Empty for a cgroup that does not exist yet. */
function readWords(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split(/\s+/)
      .filter((word) => word !== '')
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw refused('read', file, error)
    return []
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o755 })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw refused('mkdir', path, error)
  }
}

function enable(level: string, controllers: readonly string[]): void {
  const missing = notHandedDown(level, controllers)
  const available = readWords(join(level, 'cgroup.controllers'))
  const absent = missing.find((name) => !available.includes(name))
  if (absent !== undefined) {
    throw new TscrunError(
      'CONTROLLER_UNAVAILABLE',
      `cgroup ${level}: the ${absent} controller is not handed down to it`,
      {
        subject: absent,
        hint: 'the cgroup above must have it in its cgroup.subtree_control',
      },
    )
  }
  if (missing.length === 0) return
  const file = join(level, 'cgroup.subtree_control')
  const value = missing.map((name) => `+${name}`).join(' ')
  for (let round = 1; ; round += 1) {
    // Not only on EBUSY: pids, cpu and cpuset are handed down beside processes too, but then nobody can be in the
    // cgroups below (they become "domain invalid", cgroup-v2.rst, Threads).
    moveProcesses(level)
    try {
      writeFileSync(file, value)
      break
    } catch (error) {
      // New processes may come while the old are moved.
      if (errnoOf(error) !== 'EBUSY' || round === ROUNDS) throw refused('write', file, error)
    }
  }
  moveProcesses(level)
}

/** Moves every process of `level` into its `init` sub-cgroup; those of the hierarchy's real root are in nobody's way. */
function moveProcesses(level: string): void {
  const pids = existsSync(join(level, 'cgroup.type')) ? readWords(join(level, 'cgroup.procs')) : []
  if (pids.length === 0) return
  const side = join(level, SIDE)
  makeDirectory(side)
  for (const pid of pids) {
    // 0: a process of a pid namespace outside ours; writing 0 would move ourselves.
    if (pid === '0') continue
    try {
      writeFileSync(join(side, 'cgroup.procs'), pid)
    } catch (error) {
      // It ended meanwhile.
      if (errnoOf(error) !== 'ESRCH') throw refused('write', join(side, 'cgroup.procs'), error)
    }
  }
}

function refused(call: string, subject: string, cause: unknown): TscrunError {
  const errno = errnoOf(cause)
  if (errno === undefined) throw cause
  return new TscrunError('KERNEL_REFUSED', `${call} ${subject}: ${errno}`, { syscall: call, errno, subject, cause })
}
