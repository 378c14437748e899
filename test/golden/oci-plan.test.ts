import { describe, expect, it } from 'vitest'
import type { OciConfig, OciHook } from '../../src/model/config.ts'
import type { LaunchSpec } from '../../src/model/launch.ts'
import { compile } from '../../src/plan/compile.ts'
import { formatPlan } from '../../src/plan/format.ts'
import { readConfig } from '../../src/spec/read-config.ts'

/** config.json as callers write it; every line of its plan is something the kernel is asked as root. */
interface Case {
  readonly config?: (config: OciConfig) => OciConfig
  readonly spec?: Partial<LaunchSpec>
  readonly oci?: Partial<NonNullable<LaunchSpec['oci']>>
}

const IDS = [{ containerID: 0, hostID: 100_000, size: 65_536 }]

/** What podman and containerd have in common. */
const PLAIN: OciConfig = {
  ociVersion: '1.2.0',
  root: { path: 'rootfs' },
  process: {
    user: { uid: 0, gid: 0 },
    args: ['serve'],
    env: ['PATH=/bin', 'HOME=/root'],
    cwd: '/',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
  },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'mode=0620'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['rprivate', 'nosuid', 'ro'] },
    { destination: '/etc/hosts', type: 'bind', source: '/run/hosts', options: ['bind', 'rprivate'] },
  ],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'network' }, { type: 'ipc' }, { type: 'uts' }, { type: 'cgroup' }, { type: 'mount' }],
    maskedPaths: ['/proc/keys'],
    readonlyPaths: ['/proc/sys'],
  },
}

function planOf({ config = (same) => same, spec = {}, oci = {} }: Case): string {
  return formatPlan(
    compile({
      id: 'web',
      config: readConfig(JSON.stringify(config(PLAIN))),
      directory: '/run/tscrun-runtime/web',
      rootfs: { kind: 'directory', path: '/bundle/rootfs', idmap: false },
      files: [],
      stdio: { kind: 'inherited', give: [false, true, true] },
      init: false,
      kernel: { major: 6, minor: 18 },
      oci: { gate: true, preserveFds: 0, pivot: true, keyring: true, pidfdSocket: false, bundle: '/bundle', ...oci },
      ...spec,
    }),
  )
}

const linux = (more: Partial<NonNullable<OciConfig['linux']>>) => (config: OciConfig) => ({
  ...config,
  linux: { ...config.linux, ...more },
})
const process = (more: Partial<NonNullable<OciConfig['process']>>) => (config: OciConfig) => ({
  ...config,
  ...(config.process === undefined ? {} : { process: { ...config.process, ...more } }),
})
const hook = (path: string, timeout?: number): OciHook => ({
  path,
  args: [path, '--flag'],
  env: ['A=b'],
  ...(timeout === undefined ? {} : { timeout }),
})

const CASES: Readonly<Record<string, Case>> = {
  'oci-plain': {},
  'oci-systemd-scope': {
    spec: {
      cgroup: {
        parent: '/sys/fs/cgroup/system.slice',
        name: 'tscrun-web.scope',
        scope: 'tscrun-web.scope',
        writes: [{ controller: 'pids', file: 'pids.max', value: '100' }],
        deviceFilter: Buffer.alloc(160),
      },
    },
    oci: { pidfdSocket: true },
  },
  'oci-linux-6.1': { spec: { kernel: { major: 6, minor: 1 } } },
  'oci-linux-6.12': { spec: { kernel: { major: 6, minor: 12 } } },
  'oci-hooks': {
    config: (config) => ({
      ...linux({ namespaces: [{ type: 'network', path: '/run/netns/web' }, { type: 'mount' }] })(config),
      annotations: { 'org.example': 'with "quotes"' },
      hooks: {
        prestart: [hook('/usr/bin/libnetwork-setkey', 10)],
        createRuntime: [hook('/usr/bin/one')],
        createContainer: [hook('/usr/bin/two', 2)],
        startContainer: [hook('/inside')],
        poststart: [hook('/not/in/the/plan')],
      },
    }),
  },
  'oci-user-namespace': {
    config: linux({
      namespaces: [{ type: 'mount' }, { type: 'user' }],
      uidMappings: IDS,
      gidMappings: IDS,
    }),
  },
  'oci-joined-user-namespace': {
    config: linux({
      namespaces: [
        { type: 'mount' },
        { type: 'pid' },
        { type: 'user', path: '/proc/7/ns/user' },
        { type: 'network', path: '/proc/7/ns/net' },
      ],
      uidMappings: IDS,
      gidMappings: IDS,
    }),
  },
  'oci-no-mount-namespace': { config: linux({ namespaces: [{ type: 'pid' }] }) },
  'oci-joined-mount-namespace': { config: linux({ namespaces: [{ type: 'mount', path: '/proc/7/ns/mnt' }] }) },
  'oci-mounts': {
    config: (config) => ({
      ...linux({ rootfsPropagation: 'rshared' })(config),
      root: { path: 'rootfs', readonly: true },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/a', type: 'bind', source: '/srv/a', options: ['rbind', 'ro', 'rro', 'noatime', 'rslave'] },
        { destination: '/b', type: 'bind', source: '/srv/b', options: ['rbind', 'rshared'] },
        {
          destination: '/c',
          type: 'bind',
          source: '/srv/c',
          options: ['rbind', 'ridmap'],
          uidMappings: IDS,
          gidMappings: IDS,
        },
        { destination: '/d', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'ro', 'size=1m'] },
        { destination: '/e', type: 'overlay', source: 'overlay', options: ['lowerdir=/x:/y', 'volatile'] },
        { destination: '/a', options: ['remount', 'nosuid'] },
      ],
    }),
  },
  'oci-devices': {
    config: linux({
      devices: [
        { type: 'c', path: '/dev/ptmx', major: 5, minor: 2 },
        { type: 'b', path: '/dev/disk/one', major: 8, minor: 0, fileMode: 0o060660, uid: 1, gid: 6 },
        { type: 'p', path: '/opt/fifo' },
      ],
      netDevices: { eth1: { name: 'inner0' } },
    }),
  },
  'oci-process': {
    config: (config) =>
      linux({
        personality: { domain: 'LINUX32' },
        memoryPolicy: { mode: 'MPOL_INTERLEAVE', nodes: '0-2,65' },
        sysctl: { 'net.core.somaxconn': '99' },
      })(
        process({
          scheduler: { policy: 'SCHED_DEADLINE', runtime: 1_000_000, deadline: 2_000_000, period: 3_000_000 },
          ioPriority: { class: 'IOPRIO_CLASS_RT', priority: 3 },
          rlimits: [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }],
          apparmorProfile: 'mine',
          selinuxLabel: 'system_u:system_r:container_t:s0',
          oomScoreAdj: -5,
          noNewPrivileges: true,
        })(config),
      ),
    oci: { preserveFds: 2, pivot: false, keyring: false, pidfdSocket: true },
  },
  'oci-seccomp-agent': {
    config: linux({
      seccomp: {
        defaultAction: 'SCMP_ACT_ALLOW',
        listenerPath: '/run/agent',
        listenerMetadata: 'for it',
        syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }],
      },
    }),
    spec: { seccomp: { program: Buffer.alloc(80), flags: 8 } },
  },
  'oci-terminal': {
    config: process({ terminal: true, consoleSize: { height: 24, width: 80 } }),
    spec: { stdio: { kind: 'console', rows: 24, columns: 80 } },
  },
  'oci-intel-rdt': {
    config: linux({ intelRdt: { closID: 'mine', l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20' } }),
  },
  'oci-intel-rdt-own-group': {
    config: linux({ intelRdt: { l3CacheSchema: 'L3:0=f\nMB:0=50', enableMonitoring: true } }),
  },
  'oci-intel-rdt-host-group': { config: linux({ intelRdt: { closID: '/', enableCMT: true } }) },
}

describe("the plan of a caller's bundle", () => {
  it.each(Object.entries(CASES))('%s', async (name, input) => {
    await expect(planOf(input)).toMatchFileSnapshot(`plans/${name}.txt`)
  })
})
