import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, checkedNumber } from './writes.ts'

/** PID_MAX_LIMIT of 64-bit kernels; the file takes no more. */
const MAX_PIDS = 4_194_304

/** The write for the highest number of processes and threads; 0 and -1 are no limit, as docker has it. */
export function pidsWrites({ limit }: NonNullable<OciResources['pids']>): CgroupWrite[] {
  checkedNumber('pids limit', limit, { unlimited: true })
  const value = limit <= 0 || limit > MAX_PIDS ? 'max' : String(limit)
  return [{ controller: 'pids', file: 'pids.max', value }]
}
