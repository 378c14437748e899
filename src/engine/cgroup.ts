import type { OciConfig } from '../model/config.ts'
import type { CgroupPlacement } from '../model/launch.ts'

/** Where the container's cgroup goes and what is written to it. Undefined where the host has no writable cgroup v2. */
export function placeCgroup(id: string, config: OciConfig): CgroupPlacement | undefined {
  void id
  void config
  return undefined
}
