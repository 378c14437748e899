import { closeSync, openSync } from 'node:fs'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../cgroups/devices.ts'
import { updateLimits } from '../cgroups/update.ts'
import type { OciResources } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import { readState, statusOf, withLock } from './container.ts'
import { cgroupOf } from './pause.ts'

/**
 * `update`: changes the limits that are given of a container that lives. Throws CONTAINER_STATE for one that has
 * stopped, and what `updateLimits` throws.
 */
export async function updateContainer(root: string, id: string, resources: OciResources): Promise<void> {
  await withLock(root, id, async () => {
    const state = readState(root, id)
    const { status } = statusOf(root, state)
    if (status === 'stopped' || status === 'creating') {
      throw new TscrunError('CONTAINER_STATE', `container not running: ${id} is ${status}`, { subject: id })
    }
    const cgroup = cgroupOf(state)
    if (state.unit !== undefined) {
      const { updateScope } = await import('./scope.ts')
      await updateScope(state.unit, resources)
    }
    updateLimits(cgroup, resources)
    if (resources.devices !== undefined) await replaceDevices(cgroup, resources.devices)
  })
}

async function replaceDevices(cgroup: string, rules: NonNullable<OciResources['devices']>): Promise<void> {
  const { replaceDeviceFilter } = await import('../cgroups/device-program.ts')
  const fd = openSync(cgroup, 'r')
  try {
    replaceDeviceFilter(fd, compileDeviceFilter([...rules, ...DEFAULT_DEVICE_RULES]))
  } finally {
    closeSync(fd)
  }
}
