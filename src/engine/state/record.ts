import type { CniAttachment } from '../../model/cni.ts'
import type { NamespaceType, OciConfig } from '../../model/config.ts'
import type { MadeBy } from '../api.ts'
import type { HealthCheck } from '../../model/health.ts'
import type { LaunchSpec, LogOptions, PublishedPort, RestartPolicy } from '../../model/launch.ts'
import type { NetworkConnection } from '../../model/network.ts'
import type { KeptMount } from '../volumes/users.ts'

/** `container.json`: what a container is, written when it is made and again when it has ended. */
export interface ContainerRecord {
  /** Format of this file; N reads N-1. */
  readonly version: 1
  readonly id: string
  readonly name: string
  /** As the user named it, or the path of `--rootfs`. */
  readonly image: string
  /** Config digest of the image; absent with `--rootfs`. */
  readonly imageId?: string
  readonly createdMs: number
  readonly labels: Readonly<Record<string, string>>
  readonly network: string
  /** Its addresses, until it is removed. */
  readonly connections?: readonly NetworkConnection[]
  readonly ports?: readonly PublishedPort[]
  /** `80/tcp`, `8000-8010/udp`: what it says it serves. */
  readonly exposed?: readonly string[]
  /** What plugins are told at each start and end. */
  readonly cni?: readonly CniAttachment[]
  /** `--dns`: whom the name service asks for it. */
  readonly resolvers?: readonly string[]
  /** Remove it when it has ended. */
  readonly remove: boolean
  /** Made by `create`; its first start takes this away. */
  readonly unstarted?: true
  readonly stopSignal: string
  /** The command line that made it. */
  readonly madeBy?: MadeBy
  /** How long a stop waits before it kills; absent: 10 s. */
  readonly stopTimeoutMs?: number
  readonly config: OciConfig
  /** Absolute directory of its cgroup. */
  readonly cgroup?: string
  /** Host ids of its user namespace. */
  readonly idRange?: { readonly hostId: number; readonly size: number }
  /** What of the host and of the store is mounted in it; absent in a record of an older tscrun. */
  readonly mounts?: readonly KeptMount[]
  readonly exit?: ExitRecord
  /** What `start` and `exec` need beside the config; absent in a record of an older tscrun. */
  readonly launch?: StoredLaunch
}

/** The rest of a LaunchSpec, as it can be kept. */
export interface StoredLaunch extends Pick<LaunchSpec, 'rootfs' | 'files' | 'init'> {
  /** The program in base64. */
  readonly seccomp?: { readonly program: string; readonly flags: number }
  readonly interactive: boolean
  readonly log: LogOptions
  readonly restart: RestartPolicy
  /** Of each life. */
  readonly timeLimitMs?: number
  readonly health?: HealthCheck
  /** Namespaces of other containers. */
  readonly joins?: readonly StoredJoin[]
}

export interface StoredJoin {
  readonly type: NamespaceType
  /** The other's whole id. */
  readonly container: string
}

export interface ExitRecord {
  readonly exitCode: number
  readonly signal?: string
  readonly oomKilled: boolean
  /** Somebody stopped it: `unless-stopped` does not start it at the next boot. */
  readonly byPerson?: true
  /** Its time was over. */
  readonly timedOut?: true
  readonly startedMs?: number
  readonly finishedMs: number
  /** Why it never ran. */
  readonly error?: string
  /** How often its monitor had started it again. */
  readonly restarts?: number
}

/** `state.json` in the run directory, while it runs. */
export interface LiveState {
  readonly version: 1
  readonly id: string
  readonly pid: number
  /** Clock ticks since boot: with the pid it names a process for ever. */
  readonly startTime: number
  readonly startedMs: number
  /** How often its monitor has started it again; absent in the foreground. */
  readonly restarts?: number
}
