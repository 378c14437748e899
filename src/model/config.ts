/** The OCI runtime configuration (runtime-spec 1.2 config.md, config-linux.md): only what Linux needs. */
export interface OciConfig {
  readonly ociVersion: string
  readonly hostname?: string
  readonly domainname?: string
  readonly root?: { readonly path: string; readonly readonly?: boolean }
  readonly process?: OciProcess
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
  readonly cgroupsPath?: string
  readonly resources?: OciResources
  readonly sysctl?: Readonly<Record<string, string>>
  readonly seccomp?: OciSeccomp
  readonly rootfsPropagation?: string
  readonly maskedPaths?: readonly string[]
  readonly readonlyPaths?: readonly string[]
  readonly mountLabel?: string
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

export interface OciSyscallArg {
  readonly index: number
  readonly value: number
  readonly valueTwo?: number
  readonly op: string
}
