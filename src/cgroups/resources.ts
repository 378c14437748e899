import type { OciResources } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import type { CgroupFacts } from '../model/facts.ts'
import { cpusetWrites, cpuWrites } from './cpu.ts'
import { hugetlbWrites } from './hugetlb.ts'
import { ioWrites } from './io.ts'
import { MINIMUM_MEMORY, memoryWrites } from './memory.ts'
import { pidsWrites } from './pids.ts'
import { rdmaWrites } from './rdma.ts'
import { unifiedWrites } from './unified.ts'
import type { CgroupWrite } from './writes.ts'

export interface ResourceOptions {
  /** Bytes a memory limit must at least have; an OCI runtime, which does as it is told, passes 0. */
  readonly minimumMemory?: number
}

/**
 * Everything to write into a container's cgroup for its limits (runtime-spec config-linux.md, Control groups), in
 * order; `unified` comes last, so that it has the last word. The device rules are a program of their own (devices.ts).
 * Throws INVALID_CONFIG in one line for what no kernel would take.
 */
export function resourceWrites(
  resources: OciResources,
  { minimumMemory = MINIMUM_MEMORY }: ResourceOptions = {},
): CgroupWrite[] {
  const { memory, cpu, pids, blockIO, hugepageLimits, rdma, unified } = resources
  return [
    ...(cpu ? [...cpusetWrites(cpu), ...cpuWrites(cpu)] : []),
    ...(memory ? memoryWrites(memory, minimumMemory) : []),
    ...(pids ? pidsWrites(pids) : []),
    ...(blockIO ? ioWrites(blockIO) : []),
    ...(hugepageLimits ? hugetlbWrites(hugepageLimits) : []),
    ...(rdma ? rdmaWrites(rdma) : []),
    ...(unified ? unifiedWrites(unified) : []),
  ]
}

/** The controllers `writes` need, each once; the files of every cgroup (`cgroup.*`) and pressure need none. */
export function neededControllers(writes: readonly CgroupWrite[]): string[] {
  const limited = writes.filter(({ controller, file }) => controller !== 'cgroup' && !file.endsWith('.pressure'))
  return [...new Set(limited.map(({ controller }) => controller))]
}

/**
 * Throws CONTROLLER_UNAVAILABLE for the first limit whose controller this host's cgroup v2 hierarchy does not have,
 * saying whether cgroup v1 holds it.
 */
export function requireControllers(writes: readonly CgroupWrite[], facts: CgroupFacts): void {
  for (const controller of neededControllers(writes)) {
    if (facts.controllers.includes(controller)) continue
    const needing = writes.filter((write) => write.controller === controller)
    // `--memory` is known by memory.max, not by the swap limit that goes with it.
    const named = needing.find(({ optional }) => optional === undefined) ?? needing[0]
    throw unavailable(controller, named?.file ?? controller, facts)
  }
}

function unavailable(controller: string, file: string, facts: CgroupFacts): TscrunError {
  const bound = facts.v1Controllers.includes(controller)
  const reason = bound
    ? `the ${controller} controller is bound to cgroup v1 on this host`
    : facts.mountpoint === undefined
      ? 'this host has no cgroup v2 hierarchy mounted'
      : `the ${controller} controller is not in this host's cgroup v2 hierarchy`
  const hint = bound
    ? 'boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all, or run without this limit'
    : `see ${facts.mountpoint ?? '/sys/fs/cgroup'}/cgroup.controllers, or run without this limit`
  return new TscrunError('CONTROLLER_UNAVAILABLE', `limit ${file}: ${reason}`, { subject: controller, hint })
}
