/**
 * What this host is and can do, asked once and handed on as an argument, so that every plan can be computed for
 * every kind of host on any machine. Only `engine/` (through `syscall/`, `cgroups/`) fills it in.
 */
export interface HostFacts {
  readonly kernel: { readonly major: number; readonly minor: number; readonly release: string }
  /** Node's `process.arch`: `x64` or `arm64`. */
  readonly arch: string
  readonly euid: number
  readonly cgroup: CgroupFacts
  readonly userNamespaces: boolean
  readonly apparmor: boolean
  readonly selinux: boolean
}

export interface CgroupFacts {
  /** `unified`: all of v2; `hybrid`: v2 beside v1 controllers; `v1`/`none`: no v2 hierarchy is mounted. */
  readonly mode: 'unified' | 'hybrid' | 'v1' | 'none'
  /** Where the cgroup2 filesystem is mounted, e.g. `/sys/fs/cgroup`; absent in modes v1 and none. */
  readonly mountpoint?: string
  /** True if that mount is read-only. */
  readonly readonly: boolean
  /** The cgroup of this process inside that mount, `/` at its root. */
  readonly own: string
  /** Controllers of the v2 hierarchy at its root, e.g. `memory`. */
  readonly controllers: readonly string[]
  /** Controllers bound to a v1 hierarchy instead. */
  readonly v1Controllers: readonly string[]
}
