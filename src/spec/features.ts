import { UNIT_PROPERTY } from '../cgroups/systemd/annotations.ts'
import type { NamespaceType, OciHooks } from '../model/config.ts'
import type { HostFacts } from '../model/facts.ts'
import { VERSION } from '../model/version.ts'
import { MOUNT_OPTIONS } from '../rootfs/mount-options.ts'
import { CAPABILITIES } from '../security/capabilities.ts'
import { SECCOMP_ACTIONS, SECCOMP_ARCHITECTURES, SECCOMP_FLAGS, SECCOMP_OPERATORS } from '../security/seccomp/names.ts'
import { HOOK_NAMES } from './read/hooks.ts'
import { MEMORY_FLAGS, MEMORY_MODES } from './read/linux.ts'
import { NAMESPACE_TYPES } from './read/namespaces.ts'

/** The versions of the runtime specification that a configuration may be written for. */
export const OCI_VERSION = { min: '1.0.0', max: '1.3.0' } as const

interface Enabled {
  readonly enabled: boolean
}

/** What a runtime can do, whatever the host can (runtime-spec 1.3 features.md, features-linux.md). */
export interface OciFeatures {
  readonly ociVersionMin: string
  readonly ociVersionMax: string
  readonly hooks: readonly (keyof OciHooks)[]
  readonly mountOptions: readonly string[]
  readonly linux: OciLinuxFeatures
  readonly annotations: Readonly<Record<string, string>>
  /** Annotations of config.json that change what is done; one that ends with a dot stands for all that begin so. */
  readonly potentiallyUnsafeConfigAnnotations: readonly string[]
}

export interface OciLinuxFeatures {
  readonly namespaces: readonly NamespaceType[]
  readonly capabilities: readonly string[]
  readonly cgroup: {
    readonly v1: boolean
    readonly v2: boolean
    readonly systemd: boolean
    readonly systemdUser: boolean
    readonly rdma: boolean
  }
  readonly seccomp: Enabled & {
    readonly actions: readonly string[]
    readonly operators: readonly string[]
    readonly archs: readonly string[]
    readonly knownFlags: readonly string[]
    /** Those of `knownFlags` that the kernel at hand has too. */
    readonly supportedFlags: readonly string[]
  }
  readonly apparmor: Enabled
  readonly selinux: Enabled
  readonly intelRdt: Enabled & { readonly schemata: boolean; readonly monitoring: boolean }
  readonly memoryPolicy: { readonly modes: readonly string[]; readonly flags: readonly string[] }
  readonly mountExtensions: { readonly idmap: Enabled }
  readonly netDevices: Enabled
}

/** The document of `tscrun-runtime features`. */
export function features({ kernel }: Pick<HostFacts, 'kernel'>): OciFeatures {
  return {
    ociVersionMin: OCI_VERSION.min,
    ociVersionMax: OCI_VERSION.max,
    hooks: HOOK_NAMES,
    mountOptions: MOUNT_OPTIONS,
    linux: {
      namespaces: NAMESPACE_TYPES,
      capabilities: CAPABILITIES,
      cgroup: { v1: false, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: SECCOMP_ACTIONS,
        operators: SECCOMP_OPERATORS,
        archs: SECCOMP_ARCHITECTURES,
        knownFlags: SECCOMP_FLAGS,
        supportedFlags: SECCOMP_FLAGS.filter((flag) => hasFlag(flag, kernel)),
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      memoryPolicy: { modes: Object.keys(MEMORY_MODES), flags: MEMORY_FLAGS },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: {
      'io.tscrun.version': VERSION,
      // What engines ask before they offer checkpoints.
      'org.opencontainers.runc.checkpoint.enabled': 'false',
    },
    potentiallyUnsafeConfigAnnotations: [UNIT_PROPERTY],
  }
}

/** All but one are older than every kernel that tscrun runs on (seccomp(2)). */
function hasFlag(flag: string, { major, minor }: HostFacts['kernel']): boolean {
  if (flag !== 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV') return true
  return major > 5 || (major === 5 && minor >= 19)
}
