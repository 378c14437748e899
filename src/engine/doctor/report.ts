import type { HostFacts } from '../../model/facts.ts'
import type { IdFacts } from '../ids/id-range.ts'

/**
 * What doctor looks at, read once. The checks are functions of this, so that every kind of host can be judged on any
 * machine. A text is undefined where its file is not there or not for us.
 */
export interface HostReport {
  readonly facts: HostFacts
  /** `20.19.0`. */
  readonly nodeVersion: string
  /** Bits of CapEff in /proc/self/status; bit 21 is CAP_SYS_ADMIN (capabilities(7)). */
  readonly capabilities: bigint
  /** What the kernel, or a filter over it, answers to calls that tscrun cannot do without: undefined, or an errno. */
  readonly missingCalls: readonly { readonly name: string; readonly errno: string }[]
  readonly namespaces: NamespaceReport
  readonly identities: IdentityReport
  readonly store: StoreReport
  readonly nesting: NestingReport
  /** /proc/filesystems. */
  readonly filesystems: string
  /** Whether a module for overlayfs lies ready to be loaded. */
  readonly overlayModule: boolean
  /** /proc/sys/kernel/seccomp/actions_avail. */
  readonly seccompActions: string | undefined
  /** /sys/kernel/security/lsm. */
  readonly lsm: string | undefined
  /** /sys/module/apparmor/parameters/enabled. */
  readonly apparmorEnabled: string | undefined
  /** Answer of bpf(2) to a device program: undefined where it was taken, else an errno; `not tried` without root. */
  readonly deviceFilter: string | undefined
  /** Whether standard input and output are terminals. */
  readonly terminal: { readonly input: boolean; readonly output: boolean }
  readonly certificates: CertificateReport
  /** Absolute paths of programs by their names. */
  readonly programs: Readonly<Record<'nft' | 'pasta', string | undefined>>
}

export interface NamespaceReport {
  /** /proc/sys/user/max_<name>_namespaces of those that every container gets. */
  readonly limits: Readonly<Record<'user' | 'mnt' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup', string | undefined>>
  /** /proc/sys/kernel/apparmor_restrict_unprivileged_userns, of Ubuntu 23.10 and newer. */
  readonly apparmorRestricts: string | undefined
  /** /proc/sys/kernel/unprivileged_userns_clone, of Debian and Arch. */
  readonly unprivilegedClone: string | undefined
  /** Containers' namespaces made and thrown away again; undefined where that needs root. */
  readonly made: ProbeResult | undefined
  /** The same with a user namespace, mapped to an unused range. */
  readonly madeUser: ProbeResult | undefined
}

/** `failed` is one line: call, subject, reason. */
export type ProbeResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly failed: string; readonly errno: string }

export interface IdentityReport {
  readonly ids: IdFacts
  /** /etc/subgid. */
  readonly subgid: string | undefined
  /** /etc/passwd. */
  readonly passwd: string | undefined
  /** Ranges that containers of this store have. */
  readonly taken: number
}

export interface StoreReport {
  readonly path: string
  /** `ext4`; of the nearest directory above, where the store is not there yet. */
  readonly filesystem: string
  /** Bytes that anybody can still write: some filesystems keep a reserve for root. */
  readonly freeBytes: number
  /** 0 of 0 on filesystems that do not count files. */
  readonly files: { readonly total: number; readonly free: number }
  readonly readonly: boolean
  /** The store's filesystem shown with other owners; undefined where that needs root or a user namespace first. */
  readonly idmapped: ProbeResult | undefined
}

export interface NestingReport {
  /** What kind of container this process is in, e.g. `docker`; undefined on the host itself. */
  readonly inside: string | undefined
  /** In a user namespace other than the first one. */
  readonly ownUserNamespace: boolean
  /** What hides parts of /proc here: mount points below it. */
  readonly procMasks: readonly string[]
}

export interface CertificateReport {
  /** The system's bundle. */
  readonly bundle: string | undefined
  /** Variables that name a file of certificates which is not there. */
  readonly dangling: readonly { readonly variable: string; readonly path: string }[]
}
