/** The OCI runtime configuration (runtime-spec 1.3 config.md, config-linux.md): only what Linux needs. */
export interface OciConfig {
  readonly ociVersion: string
  readonly hostname?: string
  readonly domainname?: string
  readonly root?: { readonly path: string; readonly readonly?: boolean }
  readonly process?: OciProcess
  readonly hooks?: OciHooks
  readonly mounts?: readonly OciMount[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux?: OciLinux
}

export interface OciProcess {
  readonly terminal?: boolean
  readonly consoleSize?: { readonly height: number; readonly width: number }
  readonly user: OciUser
  readonly args: readonly string[]
  readonly env?: readonly string[]
  readonly cwd: string
  readonly capabilities?: OciCapabilities
  readonly rlimits?: readonly OciRlimit[]
  readonly noNewPrivileges?: boolean
  readonly oomScoreAdj?: number
  readonly apparmorProfile?: string
  readonly selinuxLabel?: string
  readonly scheduler?: OciScheduler
  readonly ioPriority?: { readonly class: IoPriorityClass; readonly priority: number }
  /** Lists such as `0-3,7`; for processes that join a container, not for its first one. */
  readonly execCPUAffinity?: { readonly initial?: string; readonly final?: string }
}

export type SchedulerPolicy =
  | 'SCHED_OTHER'
  | 'SCHED_FIFO'
  | 'SCHED_RR'
  | 'SCHED_BATCH'
  | 'SCHED_IDLE'
  | 'SCHED_DEADLINE'

export type SchedulerFlag =
  | 'SCHED_FLAG_RESET_ON_FORK'
  | 'SCHED_FLAG_RECLAIM'
  | 'SCHED_FLAG_DL_OVERRUN'
  | 'SCHED_FLAG_KEEP_POLICY'
  | 'SCHED_FLAG_KEEP_PARAMS'
  | 'SCHED_FLAG_UTIL_CLAMP_MIN'
  | 'SCHED_FLAG_UTIL_CLAMP_MAX'

/** What sched_setattr(2) is told; times in nanoseconds, for SCHED_DEADLINE only. */
export interface OciScheduler {
  readonly policy: SchedulerPolicy
  readonly nice?: number
  readonly priority?: number
  readonly flags?: readonly SchedulerFlag[]
  readonly runtime?: number
  readonly deadline?: number
  readonly period?: number
}

export type IoPriorityClass = 'IOPRIO_CLASS_RT' | 'IOPRIO_CLASS_BE' | 'IOPRIO_CLASS_IDLE'

/** Programs to run at points of a container's life (config.md, POSIX-platform Hooks), in the order of the lists. */
export interface OciHooks {
  readonly prestart?: readonly OciHook[]
  readonly createRuntime?: readonly OciHook[]
  readonly createContainer?: readonly OciHook[]
  readonly startContainer?: readonly OciHook[]
  readonly poststart?: readonly OciHook[]
  readonly poststop?: readonly OciHook[]
}

export interface OciHook {
  /** Absolute; of the host, for `startContainer` of the container. */
  readonly path: string
  /** With argv[0]; absent: the path alone. */
  readonly args?: readonly string[]
  readonly env?: readonly string[]
  /** Seconds, at least 1. */
  readonly timeout?: number
}

export interface OciUser {
  readonly uid: number
  readonly gid: number
  readonly umask?: number
  readonly additionalGids?: readonly number[]
}

/** Names such as `CAP_CHOWN`. */
export interface OciCapabilities {
  readonly bounding?: readonly string[]
  readonly effective?: readonly string[]
  readonly permitted?: readonly string[]
  readonly inheritable?: readonly string[]
  readonly ambient?: readonly string[]
}

/** Values are whole numbers, -1 for RLIM_INFINITY. */
export interface OciRlimit {
  readonly type: string
  readonly soft: number
  readonly hard: number
}

export interface OciMount {
  readonly destination: string
  readonly type?: string
  readonly source?: string
  readonly options?: readonly string[]
  /** Both or neither; the mapping of the mount itself where its options say `idmap` or `ridmap`. */
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
}

export type NamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time'

export interface OciNamespace {
  readonly type: NamespaceType
  /** Join this one instead of making a new one. */
  readonly path?: string
}

export interface IdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface OciLinux {
  readonly namespaces?: readonly OciNamespace[]
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
  readonly timeOffsets?: Readonly<Record<string, { readonly secs?: number; readonly nanosecs?: number }>>
  readonly devices?: readonly OciDevice[]
  /** Name of the host's interface -> its name in the container (absent: the same; `%d` lets the kernel count). */
  readonly netDevices?: Readonly<Record<string, { readonly name?: string }>>
  readonly cgroupsPath?: string
  readonly resources?: OciResources
  readonly sysctl?: Readonly<Record<string, string>>
  readonly seccomp?: OciSeccomp
  readonly rootfsPropagation?: string
  readonly maskedPaths?: readonly string[]
  readonly readonlyPaths?: readonly string[]
  readonly mountLabel?: string
  readonly personality?: { readonly domain: 'LINUX' | 'LINUX32' }
  readonly intelRdt?: OciIntelRdt
  readonly memoryPolicy?: OciMemoryPolicy
}

/** Lines for the resctrl file system (Documentation/arch/x86/resctrl.rst). */
export interface OciIntelRdt {
  /** Name of a group directly below resctrl; `/` is its root. */
  readonly closID?: string
  readonly schemata?: readonly string[]
  readonly l3CacheSchema?: string
  readonly memBwSchema?: string
  readonly enableMonitoring?: boolean
  readonly enableCMT?: boolean
  readonly enableMBM?: boolean
}

export type MemoryPolicyMode =
  | 'MPOL_DEFAULT'
  | 'MPOL_PREFERRED'
  | 'MPOL_BIND'
  | 'MPOL_INTERLEAVE'
  | 'MPOL_LOCAL'
  | 'MPOL_PREFERRED_MANY'
  | 'MPOL_WEIGHTED_INTERLEAVE'

export type MemoryPolicyFlag = 'MPOL_F_NUMA_BALANCING' | 'MPOL_F_RELATIVE_NODES' | 'MPOL_F_STATIC_NODES'

/** What set_mempolicy(2) is told. */
export interface OciMemoryPolicy {
  readonly mode: MemoryPolicyMode
  /** A list such as `0-3,7`. */
  readonly nodes?: string
  readonly flags?: readonly MemoryPolicyFlag[]
}

export interface OciDevice {
  readonly type: 'c' | 'b' | 'u' | 'p'
  readonly path: string
  readonly major?: number
  readonly minor?: number
  readonly fileMode?: number
  readonly uid?: number
  readonly gid?: number
}

/** A rule of the device filter; absent major/minor is a wildcard (config-linux.md, allowed device list). */
export interface OciDeviceRule {
  readonly allow: boolean
  readonly type?: 'a' | 'c' | 'b'
  readonly major?: number
  readonly minor?: number
  /** Any of `r`, `w`, `m`. */
  readonly access?: string
}

/** Sizes in bytes, times in microseconds, -1 is unlimited (config-linux.md, Control groups). */
export interface OciResources {
  readonly devices?: readonly OciDeviceRule[]
  readonly memory?: {
    readonly limit?: number
    readonly reservation?: number
    /** Memory *and* swap together, as cgroup v1 counted. */
    readonly swap?: number
    readonly checkBeforeUpdate?: boolean
  }
  readonly cpu?: {
    readonly shares?: number
    readonly quota?: number
    readonly burst?: number
    readonly period?: number
    readonly cpus?: string
    readonly mems?: string
    readonly idle?: number
  }
  readonly pids?: { readonly limit: number }
  readonly blockIO?: {
    readonly weight?: number
    readonly weightDevice?: readonly { readonly major: number; readonly minor: number; readonly weight?: number }[]
    readonly throttleReadBpsDevice?: readonly ThrottleDevice[]
    readonly throttleWriteBpsDevice?: readonly ThrottleDevice[]
    readonly throttleReadIOPSDevice?: readonly ThrottleDevice[]
    readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[]
  }
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[]
  readonly rdma?: Readonly<Record<string, { readonly hcaHandles?: number; readonly hcaObjects?: number }>>
  /** File name in the cgroup -> what is written there. */
  readonly unified?: Readonly<Record<string, string>>
}

export interface ThrottleDevice {
  readonly major: number
  readonly minor: number
  readonly rate: number
}

export interface OciSeccomp {
  readonly defaultAction: string
  readonly defaultErrnoRet?: number
  readonly architectures?: readonly string[]
  readonly flags?: readonly string[]
  readonly listenerPath?: string
  readonly listenerMetadata?: string
  readonly syscalls?: readonly OciSyscallRule[]
}

export interface OciSyscallRule {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet?: number
  readonly args?: readonly OciSyscallArg[]
}

/** The values are whole numbers of 64 bits: decimal text above 2^53-1, which a number could not carry exactly. */
export interface OciSyscallArg {
  readonly index: number
  readonly value: number | string
  readonly valueTwo?: number | string
  readonly op: string
}
