import type { ContainerStats } from '../../engine/show/stats.ts'
import { formatBinary } from '../../model/units.ts'
import { formatSize } from './images.ts'

/** Headings by template field, as docker has them. */
export const STATS_HEADINGS = {
  Container: 'CONTAINER',
  ID: 'CONTAINER ID',
  Name: 'NAME',
  CPUPerc: 'CPU %',
  MemUsage: 'MEM USAGE / LIMIT',
  MemPerc: 'MEM %',
  NetIO: 'NET I/O',
  BlockIO: 'BLOCK I/O',
  PIDs: 'PIDS',
} as const

export const STATS_COLUMNS = ['ID', 'Name', 'CPUPerc', 'MemUsage', 'MemPerc', 'NetIO', 'BlockIO', 'PIDs'] as const

/** What nothing counts. */
const NONE = '--'

/** A container's sample as texts. */
export function statsRow(
  stats: ContainerStats,
  noTrunc: boolean,
): Readonly<Record<keyof typeof STATS_HEADINGS, string>> {
  const { memory, network, blockIo } = stats
  const id = noTrunc ? stats.id : stats.id.slice(0, 12)
  const percent = (value: number | undefined): string => (value === undefined ? NONE : `${value.toFixed(2)}%`)
  return {
    Container: id,
    ID: id,
    Name: stats.name,
    CPUPerc: percent(stats.cpuPercent),
    MemUsage:
      memory === undefined ? `${NONE} / ${NONE}` : `${formatBinary(memory.usage)} / ${formatBinary(memory.limit)}`,
    MemPerc: percent(memory === undefined ? undefined : (100 * memory.usage) / memory.limit),
    NetIO:
      network === undefined ? `${NONE} / ${NONE}` : `${formatSize(network.received)} / ${formatSize(network.sent)}`,
    BlockIO:
      blockIo === undefined ? `${NONE} / ${NONE}` : `${formatSize(blockIo.read)} / ${formatSize(blockIo.written)}`,
    PIDs: stats.pids === undefined ? NONE : String(stats.pids),
  }
}
