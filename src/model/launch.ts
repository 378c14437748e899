import type { CniAttachment } from './cni.ts'
import type { NetworkRate } from './network.ts'
import type { NamespaceType, OciConfig } from './config.ts'
import type { HealthCheck } from './health.ts'
import type { FdSlot } from './step.ts'

/** How the root filesystem comes to be. */
export type RootfsSource =
  | {
      readonly kind: 'overlay'
      /** Directory that holds the layers, and their names in it from bottom to top; `.` is the directory itself. */
      readonly base: string
      readonly layers: readonly string[]
      /** Shift the owners of the layers into the container's range (needs a filesystem that can). */
      readonly idmap: boolean
      /** Where what the container writes goes: directories beside its config, or memory that ends with it. */
      readonly upper: 'directory' | 'tmpfs'
      /** Skip the sync at the end: only for a container whose upper is thrown away. */
      readonly volatile: boolean
      /** Mode of the topmost layer's own directory. */
      readonly mode: number
    }
  | { readonly kind: 'directory'; readonly path: string; readonly idmap: boolean }

/** The container's standard streams. */
export type Stdio =
  /** A pty of the container's; the monitor copies between it and the caller's descriptors. */
  | { readonly kind: 'terminal'; readonly interactive: boolean; readonly rows?: number; readonly columns?: number }
  /** Pipes; the monitor copies between them and the caller's descriptors. Without `interactive`, stdin is /dev/null. */
  | { readonly kind: 'copied'; readonly interactive: boolean }
  /** The caller's descriptors themselves (pipes it made): no copying. */
  | { readonly kind: 'direct'; readonly interactive: boolean }
  /**
   * The caller's own 0, 1 and 2, whatever they are; those marked are given to the container's user. A monitor that keeps
   * them has them for further lives.
   */
  | { readonly kind: 'inherited'; readonly give: readonly [boolean, boolean, boolean]; readonly keep?: true }
  /** Streams of a container that outlives its command: for the log, and for those who attach. */
  | { readonly kind: 'logged'; readonly terminal: boolean; readonly interactive: boolean }
  /** A pty of the container's, whose master is sent to the console socket. */
  | { readonly kind: 'console'; readonly rows?: number; readonly columns?: number }

/** One write(2) into a file of a container's cgroup (cgroup v2), made before the container starts. */
export interface CgroupWrite {
  /** The controller the file belongs to, e.g. `memory`; `cgroup` for the files every cgroup has. */
  readonly controller: string
  /** File name in the cgroup's directory, e.g. `memory.max`. */
  readonly file: string
  readonly value: string
  /** Written instead where `file` does not exist. */
  readonly orElse?: { readonly file: string; readonly value: string }
  /** Why a kernel without the file (ENOENT) is no failure. */
  readonly optional?: string
}

export interface CgroupPlacement {
  /** Absolute directory below which the container's cgroup is made. */
  readonly parent: string
  readonly name: string
  readonly writes: readonly CgroupWrite[]
  /** A BPF_PROG_TYPE_CGROUP_DEVICE program, or the slot of one that the kernel has taken already. */
  readonly deviceFilter?: Uint8Array | FdSlot
  /** The systemd unit that it is of: the caller has systemd make it around the first process, which waits for that. */
  readonly scope?: string
}

/** What an OCI runtime's caller decides beside config.json. */
export interface OciLaunch {
  /**
   * Without a monitor: the first process becomes the caller's child and waits at a gate, a listening socket, until
   * `start` connects. With one it runs at once.
   */
  readonly gate: boolean
  /** Descriptors 3, 4, ... of the caller that the command keeps. */
  readonly preserveFds: number
  /** pivot_root(2); false for a root on an initramfs, where only chroot(2) is possible. */
  readonly pivot: boolean
  /** A session keyring of its own. */
  readonly keyring: boolean
  /** Send the first process's pidfd to a socket of the caller. */
  readonly pidfdSocket: boolean
  /** Absolute directory of config.json. */
  readonly bundle?: string
}

/** How the monitor supervises a container that outlives the command that starts it. */
export interface DetachedLaunch {
  /** Its directory in the run directory, where the monitor's socket and state.json are. */
  readonly runDirectory: string
  /** Absolute directory of the cgroup that the monitor itself goes to. */
  readonly monitors?: string
  readonly log: LogOptions
  readonly restart: RestartPolicy
  /** Of each life, which is then killed. */
  readonly timeLimitMs?: number
  /** What the monitor removes at the end, beside both directories. */
  readonly remove?: {
    /** Links in absolute directories, and what they say: renamed or not. */
    readonly links: readonly { readonly directory: string; readonly name: string; readonly text: string }[]
    /** Its range of ids: a link, or a directory with an entry for each container that has it. */
    readonly range?: { readonly path: string; readonly entry: string }
    /** Absolute paths of further files. */
    readonly files: readonly string[]
    /** Absolute directories of volumes, if nobody else uses them, and the file in each that says we do. */
    readonly volumes: readonly string[]
    readonly user: string
  }
}

/** What the monitor tells of a container's life, in the file that all commands of a store append to. */
export interface EventLaunch {
  /** Absolute path of the file. */
  readonly path: string
  readonly name: string
  /** Beside the name: members of a JSON object, without its braces. */
  readonly attributes: string
  /** Its first start tells that it was made, too. */
  readonly creates: boolean
  /** Its end is its removal. */
  readonly removes: boolean
  /** Of the store; `attributes` of a mount are members of a JSON object, each with a comma before it. */
  readonly volumes: readonly { readonly name: string; readonly attributes: string }[]
}

export interface LogOptions {
  /** `passthrough`: the streams are the starter's own, and nothing is kept. */
  readonly driver: 'k8s-file' | 'json-file' | 'none' | 'passthrough'
  /** Bytes of one file, 0 for no limit. */
  readonly maxSize: number
  /** How many files, the current one included. */
  readonly maxFiles: number
}

export interface RestartPolicy {
  readonly name: 'no' | 'on-failure' | 'always' | 'unless-stopped'
  /** For `on-failure`; 0 for no limit. */
  readonly most: number
}

/** A namespace that is another container's: of its first process, whichever that is at the time. */
export interface JoinedNamespace {
  readonly type: NamespaceType
  /** The other container, for people. */
  readonly name: string
  /** Absolute path of the other's state.json, which tells its first process. */
  readonly state: string
}

/** A link of the container's network namespace, and what is set on it. */
export interface ContainerLink {
  readonly driver: 'bridge' | 'macvlan' | 'ipvlan'
  /** The host's link: the bridge it is plugged into, or the one it is made on. */
  readonly on: string
  /** Its number when the networks were last looked at; of a bridge's only. */
  readonly onIndex?: number
  /** Name of the host's end; of a bridge's only. */
  readonly hostName?: string
  /** What it is called until it is with the container; of macvlan and ipvlan only. */
  readonly firstName?: string
  readonly name: string
  /** Its number in the container. */
  readonly index: number
  /** `0a:1b:2c:3d:4e:5f` */
  readonly mac: string
  readonly mtu: number
  readonly addresses: readonly { readonly address: string; readonly prefix: number }[]
  readonly rate?: NetworkRate
  /** Of the default routes, one a family. */
  readonly gateways: readonly string[]
}

/** A port of the host that leads to one of the container. */
export interface PublishedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** Of the host; absent for all its addresses. */
  readonly hostIp?: string
  readonly hostPort: number
  readonly containerPort: number
}

/** A port of the host that is copied to the container's: what the firewall cannot lead there. */
export interface Forward {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly target: string
  readonly targetPort: number
}

/** How a container is connected. Made before each start, and taken down at its end. */
export interface NetworkLaunch {
  readonly links: readonly ContainerLink[]
  /** The links that hold its addresses: absolute paths, and what they say. */
  readonly leases?: { readonly paths: readonly string[]; readonly text: string }
  /** Absolute path of nft(8) and what it is told; absent where nothing is published. */
  readonly firewall?: {
    readonly program: string
    readonly add: string
    readonly remove: string
    /** There from before the ports are added until before they are removed; what whoever makes the rules anew reads. */
    readonly note: { readonly path: string; readonly takenBack: string; readonly text: string }
  }
  /** Where a process of ours listens, and where it leads. */
  readonly forwards?: readonly Forward[]
  /** Networks that plugins make. */
  readonly cni?: readonly CniAttachment[]
  /** Absent where none of its networks has names. */
  readonly names?: NamesLaunch
}

/** The container's place in the name service. */
export interface NamesLaunch {
  /** Absolute directory of the service's socket. */
  readonly directory: string
  /** Absolute path of the service, which is started where it does not run. */
  readonly program: string
  /** Absolute directory of the cgroup it then goes to. */
  readonly cgroup?: string
  /** What it is told of the container (native/names/names.h). */
  readonly text: string
}

/** Name of the log in a container's directory. */
export const LOG_FILE = 'log'

/** What seccomp(2) is given. */
export interface SeccompFilter {
  /** A struct sock_filter[]. */
  readonly program: Uint8Array
  readonly flags: number
  /** The user's: nobody knows what it allows. */
  readonly custom?: true
}

/** All that a plan is computed from: config.json, and what the engine or an OCI caller decided around it. */
export interface LaunchSpec {
  readonly id: string
  readonly config: OciConfig
  /** The container's own directory on the host; it exists. */
  readonly directory: string
  readonly rootfs: RootfsSource
  /** Files made in that directory and bound into the container: `/etc/hosts` and its kin. */
  readonly files: readonly { readonly target: string; readonly name: string; readonly content: string }[]
  /** Absent for a container without links of its own beside lo. */
  readonly network?: NetworkLaunch
  readonly stdio: Stdio
  readonly cgroup?: CgroupPlacement
  readonly seccomp?: SeccompFilter
  /** A reaper as process 1. */
  readonly init: boolean
  readonly kernel: { readonly major: number; readonly minor: number }
  readonly oci?: OciLaunch
  readonly detach?: DetachedLaunch
  /** Of the namespaces that the config joins, those that are looked for anew at each start; the others have a path. */
  readonly joins?: readonly JoinedNamespace[]
  readonly events?: EventLaunch
  /** In the foreground: it is killed when this time is over. */
  readonly timeLimitMs?: number
  readonly health?: HealthLaunch
  readonly stopBy?: StopBy
  /** The plan is begun before it is needed (see `Plan.held`). */
  readonly held?: true
}

/** Health checks as the monitor makes them. */
export interface HealthLaunch extends HealthCheck {
  /** Where health.json is written. */
  readonly directory: string
  /** The encoded plan of one check: an exec with the first process, standard input, output and error as its slots. */
  readonly plan: Uint8Array
}

/** How the monitor itself stops a container. */
export interface StopBy {
  readonly signal: number
  /** Then it is killed. */
  readonly afterMs: number
}
