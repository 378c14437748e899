import type { OciConfig, OciMount, OciNamespace } from '../model/config.ts'
import { restrictedPaths } from '../security/paths.ts'
import { OCI_VERSION } from './features.ts'

export interface DefaultConfigOptions {
  /** Who will run it without being root: the ids that become root in the container. Absent: root will. */
  readonly rootless?: { readonly uid: number; readonly gid: number }
}

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

/**
 * The configuration that `spec` writes to begin with: a shell on a terminal over the directory `rootfs`, which it may
 * not write to, in namespaces of its own, with the few capabilities that runc's has.
 */
export function defaultConfig({ rootless }: DefaultConfigOptions = {}): OciConfig {
  const paths = restrictedPaths({ cpus: [] })
  return {
    ociVersion: OCI_VERSION.max,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      // No ambient ones: they need to be inheritable, and then outlive a change of the user (CVE-2022-29162).
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'tscrun',
    mounts: mountsOf(rootless !== undefined),
    linux: {
      namespaces: namespacesOf(rootless !== undefined),
      ...(rootless === undefined
        ? { resources: { devices: [{ allow: false, access: 'rwm' }] } }
        : {
            uidMappings: [{ containerID: 0, hostID: rootless.uid, size: 1 }],
            gidMappings: [{ containerID: 0, hostID: rootless.gid, size: 1 }],
          }),
      maskedPaths: paths.masked,
      readonlyPaths: paths.readonly,
    },
  }
}

/** Without root there is nobody who could connect a network of its own, so it is the host's. */
function namespacesOf(rootless: boolean): OciNamespace[] {
  return [
    { type: 'pid' },
    ...(rootless ? ([{ type: 'user' }] as const) : ([{ type: 'network' }] as const)),
    { type: 'ipc' },
    { type: 'uts' },
    { type: 'mount' },
    { type: 'cgroup' },
  ]
}

function mountsOf(rootless: boolean): OciMount[] {
  const quiet = ['nosuid', 'noexec', 'nodev']
  return [
    { destination: '/proc', type: 'proc', source: 'proc' },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      // Group 5 (tty) is nobody in a user namespace of one id.
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(rootless ? [] : ['gid=5'])],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...quiet, 'mode=1777', 'size=65536k'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet },
    // Over the host's network the kernel lets only its owner mount a sysfs.
    rootless
      ? { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', ...quiet, 'ro'] }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, 'ro'] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [...quiet, 'relatime', 'ro'],
    },
  ]
}
