import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, checkedNumber, invalidLimit } from './writes.ts'

/** Writes for RDMA handles and objects by device, e.g. `mlx5_0`; what is not given is unlimited. */
export function rdmaWrites(limits: NonNullable<OciResources['rdma']>): CgroupWrite[] {
  return Object.entries(limits).map(([device, { hcaHandles, hcaObjects }]) => {
    if (!/^[A-Za-z0-9_.-]+$/.test(device))
      throw invalidLimit('rdma device', `${JSON.stringify(device)} is no device name`)
    const words = [
      ...(hcaHandles === undefined ? [] : [`hca_handle=${checkedNumber('rdma handles', hcaHandles)}`]),
      ...(hcaObjects === undefined ? [] : [`hca_object=${checkedNumber('rdma objects', hcaObjects)}`]),
    ]
    return { controller: 'rdma', file: 'rdma.max', value: [device, ...words].join(' ') }
  })
}
