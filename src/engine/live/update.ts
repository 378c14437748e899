import { requireControllers, resourceWrites } from '../../cgroups/resources.ts'
import { updateLimits } from '../../cgroups/update.ts'
import type { OciResources } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'
import type { DetachedOptions, LimitOptions } from '../../model/run-options.ts'
import { hostFacts } from '../../runtime/host.ts'
import { limitsToResources } from '../../spec/limits.ts'
import { placeCgroup } from '../start/cgroup.ts'
import { tellMonitor } from './changed.ts'
import { changeRecord } from '../state/containers.ts'
import { type ContainerView, findContainer, noSuchContainer } from '../state/containers-view.ts'
import { deviceNumbers } from '../start/devices.ts'
import { containerEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

/** What of a container can be changed while it runs; -1 for `memory` takes its limit away. */
export interface UpdateOptions extends LimitOptions {
  readonly restart?: NonNullable<DetachedOptions['restart']>
}

/**
 * Changes limits and the restart policy of a container: now, if it runs, and for its further lives. Throws
 * CONTROLLER_UNAVAILABLE as a start with such a limit does, INVALID_CONFIG or KERNEL_REFUSED for values that cannot be;
 * then nothing is recorded. Resolves to its id.
 */
export async function updateContainer(
  paths: EnginePaths,
  idOrName: string,
  { restart, ...limits }: UpdateOptions,
): Promise<string> {
  const view = findContainer(paths, idOrName)
  const { record } = view
  if (restart !== undefined && restart.name !== 'no' && record.remove) {
    throw new TscrunError('USAGE', `update ${idOrName}: it is removed at its end (--rm), and cannot start again`, {
      subject: idOrName,
      hint: 'make it anew without --rm',
    })
  }
  const change = resourcesOf(limits, record)
  const writes = resourceWrites(change)
  requireControllers(writes, hostFacts().cgroup)
  const config = withResources(record, change).config
  // All of them together must be possible; and their controllers are handed down from here on.
  placeCgroup(record.id, config)
  if (writes.length > 0) applyNow(view, change, idOrName)
  const changed = changeRecord(paths, record.id, (now) => withRestart(withResources(now, change), restart))
  if (changed === undefined) throw noSuchContainer(idOrName)
  if (view.status !== 'stopped' && view.status !== 'created') await tellMonitor(paths, changed)
  writeEvents(paths, [containerEvent(changed, 'update')])
  return record.id
}

function resourcesOf(limits: LimitOptions, { config }: ContainerRecord): OciResources {
  const { memory, memorySwap } = limits
  const set = config.linux?.resources?.memory?.limit ?? 0
  // Swap is counted together with memory: with that of today where no other is given.
  const known = memory === undefined && memorySwap !== undefined && set > 0 ? { memory: set } : {}
  const unlimited = memory === -1 ? { memorySwap: -1 } : {}
  // Devices are no limits, and stay.
  return limitsToResources({ ...limits, ...known, ...unlimited, privileged: true }, [], deviceNumbers)
}

function applyNow({ record, status }: ContainerView, change: OciResources, name: string): void {
  if (status !== 'running' && status !== 'paused') return
  if (record.cgroup === undefined) {
    throw new TscrunError('CONTROLLER_UNAVAILABLE', `update ${name}: it has no cgroup`, {
      subject: name,
      hint: 'start it anew: then it has one, if this host has cgroup v2',
    })
  }
  updateLimits(record.cgroup, change)
}

/** Limits by limit: the others stay. */
function withResources(record: ContainerRecord, change: OciResources): ContainerRecord {
  const { memory, cpu, blockIO, unified, ...rest } = record.config.linux?.resources ?? {}
  const resources: OciResources = {
    ...rest,
    ...merged('memory', memory, change.memory),
    ...merged('cpu', cpu, change.cpu),
    ...merged('blockIO', blockIO, change.blockIO),
    ...merged('unified', unified, change.unified),
    ...(change.pids === undefined ? {} : { pids: change.pids }),
  }
  return { ...record, config: { ...record.config, linux: { ...record.config.linux, resources } } }
}

function merged<Key extends string, Part extends object>(
  key: Key,
  before: Part | undefined,
  change: Part | undefined,
): { readonly [key in Key]?: Part } {
  if (before === undefined && change === undefined) return {}
  return { [key]: { ...before, ...change } } as { readonly [key in Key]?: Part }
}

function withRestart(record: ContainerRecord, restart: UpdateOptions['restart']): ContainerRecord {
  if (restart === undefined || record.launch === undefined) return record
  return { ...record, launch: { ...record.launch, restart } }
}
