import { annotationProperties } from '../cgroups/systemd/annotations.ts'
import { openSystemd } from '../cgroups/systemd/open.ts'
import { cgroupOfUnit, parseSystemdCgroupsPath, unitName } from '../cgroups/systemd/place.ts'
import { unitProperties } from '../cgroups/systemd/properties.ts'
import { requireNewUnit, setUnitProperties, startScope, stopUnit } from '../cgroups/systemd/units.ts'
import type { OciConfig, OciResources } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'

/** A container's place where systemd makes the cgroups. */
export interface ScopePlace {
  readonly unit: string
  readonly slice: string
  /** Below the root of the hierarchy. */
  readonly cgroup: string
}

/** `linux.cgroupsPath` as `slice:prefix:name`; absent: `system.slice:tscrun:<id>`. Throws INVALID_CONFIG. */
export function scopeOf(id: string, config: OciConfig): ScopePlace {
  const place = parseSystemdCgroupsPath(config.linux?.cgroupsPath ?? '', id)
  return { unit: unitName(place), slice: place.slice, cgroup: cgroupOfUnit(place) }
}

/**
 * Says, before anything is made, whether systemd can be asked and has no such unit: what a failed create clears away
 * must not be another container's. Throws HOST_UNSUPPORTED, SYSTEMD, NAME_IN_USE.
 */
export async function requireNewScope(unit: string): Promise<void> {
  const systemd = await openSystemd()
  try {
    await requireNewUnit(systemd, unit)
  } finally {
    systemd.close()
  }
}

/** Has systemd make the scope around a first process that waits. Throws SYSTEMD, NAME_IN_USE. */
export async function makeScope(id: string, place: ScopePlace, config: OciConfig, pid: number): Promise<void> {
  const systemd = await openSystemd()
  try {
    const { cgroup } = await startScope(systemd, {
      unit: place.unit,
      slice: place.slice,
      description: `tscrun container ${id}`,
      pids: [pid],
      properties: [
        ...unitProperties(config.linux?.resources ?? {}, systemd.version),
        ...annotationProperties(config.annotations ?? {}),
      ],
    })
    if (cgroup !== place.cgroup) {
      throw new TscrunError('SYSTEMD', `StartTransientUnit ${place.unit}: its cgroup is ${cgroup}, not ${place.cgroup}`)
    }
  } finally {
    systemd.close()
  }
}

/** Lets systemd know of changed limits, which it would write over otherwise. */
export async function updateScope(unit: string, resources: OciResources): Promise<void> {
  const systemd = await openSystemd()
  try {
    await setUnitProperties(systemd, unit, unitProperties(resources, systemd.version))
  } finally {
    systemd.close()
  }
}

/** Waits until systemd has no such unit any more. Where systemd has gone, the unit has gone with it. */
export async function stopScope(unit: string): Promise<void> {
  try {
    const systemd = await openSystemd()
    try {
      await stopUnit(systemd, unit)
    } finally {
      systemd.close()
    }
  } catch (error) {
    if (!(error instanceof TscrunError && error.code === 'HOST_UNSUPPORTED')) throw error
  }
}
