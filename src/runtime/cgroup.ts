import { rmdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../cgroups/devices.ts'
import { prepareCallersParent } from '../cgroups/prepare.ts'
import { neededControllers, requireControllers, resourceWrites } from '../cgroups/resources.ts'
import type { OciConfig } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { CgroupPlacement } from '../model/launch.ts'
import { hostFacts } from './host.ts'

/**
 * Where the caller wants the container's cgroup (`linux.cgroupsPath`, from the root of the mount) and what is written to
 * it. Undefined where the host has no writable cgroup v2; a limit asked for there is CONTROLLER_UNAVAILABLE.
 */
export function placeCgroup(id: string, config: OciConfig): CgroupPlacement | undefined {
  const facts = hostFacts().cgroup
  const resources = config.linux?.resources ?? {}
  const writes = resourceWrites(resources, { minimumMemory: 0 })
  requireControllers(writes, facts)
  if (facts.mountpoint === undefined || (facts.readonly && writes.length === 0)) return undefined
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
  const parent = prepareCallersParent(facts, dirname(path), neededControllers(writes))
  makeFresh(join(parent, basename(path)))
  return {
    parent,
    name: basename(path),
    writes,
    // The devices that every container is given must be of use (config-linux.md, Default Devices).
    ...(resources.devices === undefined
      ? {}
      : { deviceFilter: compileDeviceFilter([...resources.devices, ...DEFAULT_DEVICE_RULES]) }),
  }
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
