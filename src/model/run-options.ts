import type { HealthOptions } from './health.ts'
import type { PublishedPort } from './launch.ts'
import type { NetworkRequest } from './network.ts'

/**
 * What a caller may ask of a container, after all parsing: the command line and the library both end here.
 * Sizes are bytes, times milliseconds unless a name says otherwise. Everything is optional.
 */
export interface RunOptions extends LimitOptions {
  readonly name?: string
  /** `NAME=value` each; later ones win over earlier ones and over the image's. */
  readonly env?: readonly string[]
  readonly workdir?: string
  /** `user`, `uid`, `user:group`, `uid:gid`. */
  readonly user?: string
  /** Replaces the image's entrypoint (and drops its cmd); an empty list removes it. */
  readonly entrypoint?: readonly string[]
  readonly hostname?: string
  /** `host:ip` each; `host-gateway` as ip is the host's address. */
  readonly addHost?: readonly string[]
  readonly dns?: readonly string[]
  readonly dnsSearch?: readonly string[]
  readonly dnsOption?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly volumes?: readonly VolumeMount[]
  /** Also what these containers have mounted from the host and the store. */
  readonly volumesFrom?: readonly { readonly container: string; readonly readonly?: boolean }[]
  readonly tmpfs?: readonly TmpfsMount[]
  readonly readOnly?: boolean
  readonly capAdd?: readonly string[]
  readonly capDrop?: readonly string[]
  /** Instead of docker's 14, before those that are added and dropped. */
  readonly defaultCapabilities?: readonly string[]
  readonly privileged?: boolean
  readonly devices?: readonly DeviceOption[]
  readonly deviceCgroupRules?: readonly string[]
  readonly security?: SecurityOptions
  readonly shmSize?: number
  readonly ulimits?: readonly UlimitOption[]
  readonly sysctls?: Readonly<Record<string, string>>
  /** Run a small reaper as process 1. */
  readonly init?: boolean
  readonly stopSignal?: string
  readonly pull?: PullPolicy
  /** `os/arch[/variant]`. */
  readonly platform?: string
  readonly tlsVerify?: boolean
  /** For pulling the image: most bytes of files it may unpack to. 0 is no limit; the default follows from what is fetched. */
  readonly maxUnpackSize?: number
  /** For pulling the image: a login, a login file, a directory with certificates. None of it is kept. */
  readonly creds?: { readonly user: string; readonly password: string }
  readonly authFile?: string
  readonly certDir?: string
  /** Use this directory (or, with `overlay`, a throw-away view of it) as the root filesystem instead of an image. */
  readonly rootfs?: { readonly path: string; readonly overlay: boolean }
  readonly namespaces?: NamespaceOptions
  readonly network?: NetworkOption
  /** Ports of the host that lead to the container's; a host port of 0 is a free one. */
  readonly ports?: readonly PublishedPort[]
  /** `80`, `80/udp`, `8000-8010/tcp`: what it serves, beside what its image says. */
  readonly expose?: readonly string[]
  /** Every port that is exposed is published, at a free one of the host. */
  readonly publishAll?: boolean
  readonly groupAdd?: readonly string[]
  readonly umask?: number
  readonly oomScoreAdj?: number
  /** A terminal for the container, copied from and to the caller's. */
  readonly tty?: boolean
  /** Hand the caller's standard input to the container. */
  readonly interactive?: boolean
  /** Remove the container when it has ended. */
  readonly remove?: boolean
  /** Kill the container after this many milliseconds. */
  readonly timeoutMs?: number
  /** How long `stop` waits before it kills; 10 s by default. */
  readonly stopTimeoutMs?: number
  /** Checks of its health; false for none, also where the image has one. */
  readonly health?: HealthOptions | false
}

/** What a container that outlives the command that starts it may have beside `RunOptions`. */
export interface DetachedOptions {
  readonly restart?: {
    readonly name: 'no' | 'on-failure' | 'always' | 'unless-stopped'
    /** For `on-failure`: give up after so many; 0 for never. */
    readonly most: number
  }
  readonly log?: {
    /** `passthrough`: its streams are 0, 1 and 2 of the process that starts it; nothing is kept. */
    readonly driver?: 'k8s-file' | 'json-file' | 'none' | 'passthrough'
    /** Bytes of one file; 0 for no limit. */
    readonly maxSize?: number
    readonly maxFiles?: number
  }
}

export type PullPolicy = 'missing' | 'always' | 'never' | 'newer'

export interface LimitOptions {
  /** Bytes. */
  readonly memory?: number
  /** Memory and swap together, bytes; -1 is unlimited swap. */
  readonly memorySwap?: number
  readonly memoryReservation?: number
  /** Whole and parts of processors, e.g. 0.5. */
  readonly cpus?: number
  /** 2 to 262144, docker's notation; converted to cpu.weight. */
  readonly cpuShares?: number
  /** Microseconds per period. */
  readonly cpuQuota?: number
  readonly cpuPeriod?: number
  readonly cpusetCpus?: string
  readonly cpusetMems?: string
  /** -1 is unlimited. */
  readonly pidsLimit?: number
  /** 10 to 1000. */
  readonly blkioWeight?: number
  readonly deviceReadBps?: readonly DeviceRate[]
  readonly deviceWriteBps?: readonly DeviceRate[]
  readonly deviceReadIops?: readonly DeviceRate[]
  readonly deviceWriteIops?: readonly DeviceRate[]
  /** Cgroup v2 file -> value. */
  readonly cgroupConf?: Readonly<Record<string, string>>
}

export interface DeviceRate {
  /** A block device on the host, e.g. /dev/vda. */
  readonly path: string
  /** Bytes or operations a second. */
  readonly rate: number
}

/** What is mounted into a container: something of the host's, or a volume of the store. */
export type VolumeMount = BindMount | StoreVolumeMount

interface MountChoices {
  /** Absolute path in the container. */
  readonly target: string
  readonly readonly?: boolean
  readonly propagation?: 'private' | 'rprivate' | 'slave' | 'rslave' | 'shared' | 'rshared'
  /** Extra mount flags: `noexec`, `nosuid`, `nodev`. */
  readonly flags?: readonly string[]
  /** Give all that is in it to the container's user before the start. */
  readonly chown?: boolean
}

export interface BindMount extends MountChoices {
  /** Absolute path on the host. */
  readonly source: string
  /** Include the mounts below `source` (`rbind`, the default) or not (`bind`). */
  readonly recursive?: boolean
  /** Make `source` as a directory if it does not exist (`-v` does, `--mount` does not). */
  readonly createSource?: boolean
}

/** A volume is made when it is first used; the first use fills it with what the image has at `target`. */
export interface StoreVolumeMount extends MountChoices {
  readonly source?: undefined
  /** Its name; absent: an anonymous volume, which `remove` takes along. */
  readonly volume?: string
  /** Do not fill it from the image. */
  readonly nocopy?: boolean
  /** What it is made with, if it is made now; see `createVolume`. */
  readonly labels?: Readonly<Record<string, string>>
  readonly options?: Readonly<Record<string, string>>
}

export interface TmpfsMount {
  readonly target: string
  /** Mount options as for mount(8): `size=64m`, `mode=1777`, `noexec` ... */
  readonly options?: readonly string[]
}

export interface DeviceOption {
  readonly hostPath: string
  readonly containerPath: string
  /** Any of `rwm`. */
  readonly access: string
}

export interface UlimitOption {
  /** Lower case, without `RLIMIT_`: `nofile`. */
  readonly name: string
  /** -1 is unlimited. */
  readonly soft: number
  readonly hard: number
}

export interface SecurityOptions {
  readonly noNewPrivileges?: boolean
  /** `unconfined`, or the path of a profile in docker's JSON format; absent is the default filter. */
  readonly seccomp?: string
  readonly apparmor?: string
  readonly label?: readonly string[]
  /** Paths to mask beside the default ones. */
  readonly mask?: readonly string[]
  /** `ALL` or paths that are not masked. */
  readonly unmask?: readonly string[]
}

/**
 * `new` makes one; `host` shares the host's; `container` joins that of another container, by its name or id, and with it
 * the other's user namespace and ids; else the path of a namespace file such as /proc/1/ns/ipc.
 */
export type NamespaceOption = 'new' | 'host' | JoinOption
export type JoinOption = { readonly path: string } | { readonly container: string }

export interface NamespaceOptions {
  readonly pid?: NamespaceOption
  readonly ipc?: NamespaceOption
  readonly uts?: NamespaceOption
  readonly cgroup?: NamespaceOption
  /** `auto` picks a range of its own. */
  readonly user?: 'auto' | 'host' | JoinOption
  /** A new time namespace; offsets in seconds. */
  readonly time?: { readonly boottime?: number; readonly monotonic?: number }
}

/** `bridge` is the default network: as `networks` with it alone. */
export type NetworkOption =
  | 'none'
  | 'host'
  | 'bridge'
  | JoinOption
  | { readonly networks: readonly NetworkRequest[] }
  /** Of configurations in /etc/cni/net.d, by their names. */
  | { readonly cni: readonly NetworkRequest[] }
