import { readFileSync, rmdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../cgroups/devices.ts'
import { prepareCallersParent } from '../cgroups/prepare.ts'
import { neededControllers, requireControllers, resourceWrites } from '../cgroups/resources.ts'
import type { CgroupWrite } from '../cgroups/writes.ts'
import type { OciConfig, OciDeviceRule } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { CgroupFacts } from '../model/facts.ts'
import type { CgroupPlacement } from '../model/launch.ts'
import { hostFacts } from './host.ts'

/** Who makes the container's cgroup: we, systemd (as a scope), or nobody. */
export type CgroupDriver = 'cgroupfs' | 'systemd' | 'disabled'

/**
 * Where the caller wants the container's cgroup (`linux.cgroupsPath`, from the root of the mount) and what is written to
 * it. Undefined where the host has no writable cgroup v2, or none is wanted; a limit asked for there is
 * CONTROLLER_UNAVAILABLE.
 */
export async function placeCgroup(
  id: string,
  config: OciConfig,
  driver: CgroupDriver,
): Promise<CgroupPlacement | undefined> {
  if (driver === 'systemd') return placeScope(id, config)
  if (driver === 'disabled') return undefined
  const { facts, writes, path } = wanted(id, config)
  if (facts.mountpoint === undefined || (facts.readonly && writes.length === 0)) return undefined
  const parent = prepareCallersParent(facts, dirname(path), neededControllers(writes))
  makeFresh(join(parent, basename(path)))
  return placement(parent, path, config, writes)
}

/** What `placeCgroup` would answer, with nothing made and nobody asked. */
export async function foreseeCgroup(
  id: string,
  config: OciConfig,
  driver: CgroupDriver,
): Promise<CgroupPlacement | undefined> {
  if (driver === 'disabled') return undefined
  if (driver === 'systemd') return scopePlacement(id, config)
  const { facts, writes, path } = wanted(id, config)
  if (facts.mountpoint === undefined) return undefined
  return placement(join(facts.mountpoint, dirname(path)), path, config, writes)
}

interface Wanted {
  readonly facts: CgroupFacts
  readonly writes: readonly CgroupWrite[]
  /** From the root of the mount. */
  readonly path: string
}

function wanted(id: string, config: OciConfig): Wanted {
  const facts = hostFacts().cgroup
  const writes = resourceWrites(config.linux?.resources ?? {}, { minimumMemory: 0 })
  requireControllers(writes, facts)
  // join() takes `..` as text, so nothing leads out of the mount.
  const path = join('/', config.linux?.cgroupsPath ?? `/tscrun-runtime/${id}`)
  if (path === '/') {
    throw new TscrunError(
      'INVALID_CONFIG',
      'config.json: linux.cgroupsPath: the root of all cgroups cannot be one container',
      {
        subject: 'linux.cgroupsPath',
        hint: 'name a cgroup below it, e.g. /mine/ID',
      },
    )
  }
  return { facts, writes, path }
}

function placement(parent: string, path: string, config: OciConfig, writes: readonly CgroupWrite[]): CgroupPlacement {
  const devices = config.linux?.resources?.devices
  return {
    parent,
    name: basename(path),
    writes,
    ...(devices === undefined ? {} : { deviceFilter: deviceFilter(devices) }),
  }
}

/** The program for device rules of a config.json (compileDeviceFilter). Throws INVALID_CONFIG. */
export function deviceFilter(rules: readonly OciDeviceRule[]): Buffer {
  return compileDeviceFilter([...rules, ...DEFAULT_DEVICE_RULES])
}

/**
 * The stage makes it. One that is there may be the caller's, or a leftover, and after a `cgroup.kill` the kernel kills
 * whoever is born into it (seen on 6.12 and 6.18): an empty one is removed, so that the stage makes it anew.
 */
function makeFresh(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return
    if (errno !== 'EBUSY') throw error
    throw new TscrunError('CONTAINER_STATE', `cgroup ${path}: not empty`, {
      subject: path,
      hint: 'another container uses it: give each its own linux.cgroupsPath',
    })
  }
}

/** `--systemd-cgroup`: the cgroup is there when systemd has made the scope, which needs the first process. */
async function placeScope(id: string, config: OciConfig): Promise<CgroupPlacement> {
  const { requireNewScope, scopeOf } = await import('./scope.ts')
  const scope = await scopePlacement(id, config)
  await requireNewScope(scopeOf(id, config).unit)
  return scope
}

async function scopePlacement(id: string, config: OciConfig): Promise<CgroupPlacement> {
  const { scopeOf } = await import('./scope.ts')
  const { cgroup, unit } = scopeOf(id, config)
  const facts = hostFacts().cgroup
  const writes = resourceWrites(config.linux?.resources ?? {}, { minimumMemory: 0 })
  requireControllers(writes, facts)
  const mountpoint = facts.mountpoint ?? '/sys/fs/cgroup'
  return { ...placement(join(mountpoint, dirname(cgroup)), cgroup, config, writes), scope: unit }
}

/**
 * At the meeting `cloned`: has systemd put the waiting first process into its scope. What systemd does not hand down to
 * scopes (hugetlb, rdma, misc) but a limit needs is handed down here, as runc and crun do.
 */
export async function enterScope(id: string, config: OciConfig, pid: number): Promise<void> {
  const { makeScope, scopeOf } = await import('./scope.ts')
  const place = scopeOf(id, config)
  await makeScope(id, place, config, pid)
  const facts = hostFacts().cgroup
  const needed = neededControllers(resourceWrites(config.linux?.resources ?? {}, { minimumMemory: 0 }))
  if (facts.mountpoint === undefined || needed.length === 0) return
  const given = readFileSync(join(facts.mountpoint, place.cgroup, 'cgroup.controllers'), 'utf8')
    .trim()
    .split(' ')
  if (needed.every((controller) => given.includes(controller))) return
  prepareCallersParent(facts, dirname(place.cgroup), needed)
}
