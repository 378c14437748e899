import { accessSync, constants } from 'node:fs'
import { loadProgram } from '../../cgroups/device-program.ts'
import { compileDeviceFilter } from '../../cgroups/devices.ts'
import { prepareCgroupParent } from '../../cgroups/prepare.ts'
import { neededControllers, requireControllers, resourceWrites } from '../../cgroups/resources.ts'
import type { OciConfig, OciDeviceRule } from '../../model/config.ts'
import { errnoOf } from '../../model/errors.ts'
import type { CgroupPlacement } from '../../model/launch.ts'
import { hostFacts } from '../../runtime/host.ts'
import { SyscallError } from '../../syscall/errno.ts'
import { nodesOwn } from '../../syscall/process.ts'
import { justLook, type Look } from './look.ts'

/** Counted for every container where the host can, so that `stats` and the OOM report have something to read. */
const ALWAYS = ['memory', 'pids', 'cpu', 'io'] as const

/** Where the cgroup of a container without a record would be. */
export function cgroupOf(id: string): string | undefined {
  const { mountpoint } = hostFacts().cgroup
  return mountpoint === undefined ? undefined : `${mountpoint}/tscrun/${id}`
}

/**
 * Where the container's cgroup goes and what is written to it. Undefined where the host has no writable cgroup v2;
 * a limit asked for there is CONTROLLER_UNAVAILABLE. With `dryRun` nothing is made.
 */
export function placeCgroup(
  id: string,
  config: OciConfig,
  options: { readonly dryRun?: boolean; readonly look?: Look } = {},
): CgroupPlacement | undefined {
  const facts = hostFacts().cgroup
  const { look = justLook } = options
  const resources = config.linux?.resources ?? {}
  const writes = resourceWrites(resources)
  requireControllers(writes, facts)
  const { mountpoint } = facts
  if (mountpoint === undefined) return undefined
  if (writes.length === 0 && (facts.readonly || !look(() => mayMakeBelow(mountpoint)))) return undefined
  // Who may make cgroups of its own (--privileged) may also limit them, by whatever there is.
  const usual = ownsCgroups(config) ? facts.controllers : ALWAYS.filter((name) => facts.controllers.includes(name))
  const controllers = [...new Set([...usual, ...neededControllers(writes)])]
  const parent = options.dryRun === true ? `${mountpoint}/tscrun` : look(() => prepareCgroupParent(facts, controllers))
  return {
    parent,
    name: id,
    writes,
    ...(resources.devices === undefined ? {} : { deviceFilter: deviceFilter(resources.devices) }),
  }
}

function ownsCgroups({ mounts = [] }: OciConfig): boolean {
  return mounts.some(({ type, options = [] }) => type?.startsWith('cgroup') === true && !options.includes('ro'))
}

/** In a user namespace the hierarchy can be mounted writable and be somebody else's (cgroup-v2.rst, Delegation). */
function mayMakeBelow(mountpoint: string): boolean {
  return isWritable(`${mountpoint}/tscrun`) ?? isWritable(mountpoint) ?? false
}

/** Undefined where it is not there. */
function isWritable(path: string): boolean | undefined {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return undefined
    if (errno === 'EACCES' || errno === 'EROFS') return false
    throw error
  }
}

const filters = new Map<string, Buffer>()

/** Most containers have the same rules: they are compiled once a process. */
function deviceFilter(rules: readonly OciDeviceRule[]): Buffer {
  const key = JSON.stringify(rules)
  let filter = filters.get(key)
  if (filter === undefined) {
    filter = compileDeviceFilter(rules)
    filters.set(key, filter)
  }
  return filter
}

/** Filters that a container of this process had; with the descriptor where a second one had it, too. */
const used = new WeakMap<Uint8Array, { program?: number }>()
let kept = 0
const MOST_KEPT = 16

/**
 * The kernel takes 0.3 ms to verify a filter. So a process that starts a second container with the same one has it
 * loaded from then on, and hands that to the stage; one that starts a single container leaves it to the stage, which
 * works beside it. Answers the placement to compile, and the descriptor for its slot.
 */
export function withLoadedFilter(placement: CgroupPlacement): {
  readonly placement: CgroupPlacement
  readonly program?: number
} {
  const filter = placement.deviceFilter
  if (filter === undefined || typeof filter === 'string') return { placement }
  const before = used.get(filter)
  if (before === undefined) used.set(filter, {})
  else if (before.program === undefined && kept < MOST_KEPT) {
    try {
      before.program = nodesOwn(loadProgram(filter))
      kept++
    } catch (error) {
      // The stage will meet the same, and its words say what it was about.
      if (!(error instanceof SyscallError)) throw error
    }
  }
  const program = before?.program
  return program === undefined ? { placement } : { placement: { ...placement, deviceFilter: 'fd:devices' }, program }
}
