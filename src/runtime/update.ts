import { closeSync, openSync, readFileSync } from 'node:fs'
import { updateLimits } from '../cgroups/update.ts'
import type { OciDeviceRule, OciResources } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import { readConfig } from '../spec/read-config.ts'
import { deviceFilter } from './cgroup.ts'
import { type ContainerPaths, type ContainerState, readState, statusOf, withLock, writeWhole } from './container.ts'
import { cgroupOf } from './pause.ts'

/**
 * `update`: changes the limits that are given of a container that lives. Throws CONTAINER_STATE for one that has
 * stopped, and what `updateLimits` throws.
 */
export async function updateContainer(root: string, id: string, resources: OciResources): Promise<void> {
  await withLock(root, id, async (paths) => {
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
    if (resources.devices !== undefined) await replaceDevices(paths, state, cgroup, resources.devices)
  })
}

async function replaceDevices(
  paths: ContainerPaths,
  state: ContainerState,
  cgroup: string,
  rules: readonly OciDeviceRule[],
): Promise<void> {
  const { replaceDeviceFilter } = await import('../cgroups/device-program.ts')
  const before = state.devices ?? readConfig(readFileSync(paths.config, 'utf8')).linux?.resources?.devices
  const fd = openSync(cgroup, 'r')
  try {
    replaceDeviceFilter(fd, deviceFilter(rules), before && deviceFilter(before))
  } finally {
    closeSync(fd)
  }
  writeWhole(paths.state, JSON.stringify({ ...state, devices: rules }))
}
