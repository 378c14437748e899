import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, checkedNumber, invalidLimit, limitText } from './writes.ts'

type Memory = NonNullable<OciResources['memory']>

/** What docker and podman ask for at least: below it not even a runtime's own start fits. */
export const MINIMUM_MEMORY = 6 * 2 ** 20

/**
 * Writes for memory limits in bytes (-1 unlimited, 0 not set). `reservation` is protection (memory.low), as runc and
 * crun take it; `swap` counts memory and swap together, memory.swap.max swap alone.
 */
export function memoryWrites({ limit = 0, reservation = 0, swap = 0 }: Memory, minimum: number): CgroupWrite[] {
  checkMemory(limit, reservation, minimum)
  const writes: CgroupWrite[] = []
  const swapMax = swapOnly(limit, swap)
  // Swap first: a limit without its swap limit would be no limit to a program that starts in between.
  if (swapMax !== undefined) {
    writes.push({
      controller: 'memory',
      file: 'memory.swap.max',
      value: limitText(swapMax),
      optional: 'a kernel without swap accounting; memory.max holds all the same',
    })
  }
  if (limit !== 0) writes.push({ controller: 'memory', file: 'memory.max', value: limitText(limit) })
  if (reservation !== 0) writes.push({ controller: 'memory', file: 'memory.low', value: limitText(reservation) })
  return writes
}

function checkMemory(limit: number, reservation: number, minimum: number): void {
  checkedNumber('memory limit', limit, { unlimited: true })
  checkedNumber('memory reservation', reservation, { unlimited: true })
  if (limit > 0 && limit < minimum) {
    throw invalidLimit('memory limit', `${limit} bytes is below the minimum of ${minimum / 2 ** 20} MiB`)
  }
  if (limit > 0 && reservation > limit) {
    throw invalidLimit('memory reservation', `${reservation} bytes is above the memory limit of ${limit} bytes`)
  }
}

/** Bytes of swap alone, -1 unlimited; undefined leaves the file as it is. */
function swapOnly(limit: number, swap: number): number | undefined {
  checkedNumber('memory+swap limit', swap, { unlimited: true })
  // cgroup v1, whose units these are, cannot limit swap where memory is unlimited.
  if (swap === 0) return limit === -1 ? -1 : undefined
  if (swap === -1) return -1
  if (limit <= 0) throw invalidLimit('memory+swap limit', 'set without a memory limit', 'set a memory limit too')
  if (swap < limit) {
    throw invalidLimit(
      'memory+swap limit',
      `${swap} bytes is below the memory limit of ${limit} bytes, which it includes`,
    )
  }
  return swap - limit
}
