import { expect } from 'vitest'
import type { OciConfig } from '../../src/model/config.ts'
import { readConfig } from '../../src/spec/read-config.ts'

const IDS = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
const HOOK = { path: '/usr/bin/hook', args: ['hook', 'now'], env: ['KEY=value'], timeout: 5 }
const DISK = { major: 254, minor: 16 }

/** A configuration with every member there is, as the reader gives it back. */
export const FULL = {
  ociVersion: '1.2.0',
  hostname: 'box',
  domainname: 'example.org',
  root: { path: 'rootfs', readonly: true },
  process: {
    terminal: true,
    consoleSize: { height: 24, width: 80 },
    user: { uid: 1000, gid: 100, umask: 0o27, additionalGids: [5, 6] },
    args: ['sh', '-c', 'true'],
    env: ['PATH=/bin', 'EMPTY='],
    cwd: '/home',
    capabilities: {
      bounding: ['CAP_KILL', 'CAP_SYS_ADMIN'],
      effective: ['CAP_KILL'],
      permitted: ['CAP_KILL'],
      inheritable: ['CAP_KILL'],
      ambient: ['CAP_KILL'],
    },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: 1024, hard: 2048 },
      { type: 'RLIMIT_CORE', soft: 0, hard: 4096 },
    ],
    noNewPrivileges: true,
    oomScoreAdj: 100,
    apparmorProfile: 'some_profile',
    selinuxLabel: 'system_u:system_r:svirt_lxc_net_t:s0:c124,c675',
    scheduler: {
      policy: 'SCHED_DEADLINE',
      nice: 1,
      priority: 0,
      flags: ['SCHED_FLAG_RESET_ON_FORK'],
      runtime: 1_000_000,
      deadline: 2_000_000,
      period: 3_000_000,
    },
    ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 4 },
    execCPUAffinity: { initial: '0-3,7', final: '0' },
  },
  hooks: {
    prestart: [HOOK],
    createRuntime: [HOOK],
    createContainer: [HOOK],
    startContainer: [HOOK],
    poststart: [HOOK],
    poststop: [HOOK, { path: '/usr/bin/other' }],
  },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec'] },
    { destination: '/data', source: '/srv', options: ['rbind', 'ro', 'idmap'], uidMappings: IDS, gidMappings: IDS },
  ],
  annotations: { 'org.example.key': 'value' },
  linux: {
    namespaces: [
      { type: 'pid', path: '/proc/1234/ns/pid' },
      { type: 'network' },
      { type: 'mount' },
      { type: 'ipc' },
      { type: 'uts' },
      { type: 'user' },
      { type: 'cgroup' },
      { type: 'time' },
    ],
    uidMappings: IDS,
    gidMappings: IDS,
    timeOffsets: { boottime: { secs: -5, nanosecs: 1 }, monotonic: { secs: 7 } },
    devices: [
      { type: 'c', path: '/dev/fuse', major: 10, minor: 229, fileMode: 0o600, uid: 0, gid: 0 },
      { type: 'p', path: '/dev/pipe' },
    ],
    netDevices: { eth7: { name: 'lan%d' }, eth8: {} },
    cgroupsPath: '/some/group',
    resources: {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
      ],
      memory: { limit: 1_000_000, reservation: 500_000, swap: 2_000_000, checkBeforeUpdate: true },
      cpu: { shares: 1024, quota: 50_000, burst: 1000, period: 100_000, cpus: '0-1', mems: '0', idle: 0 },
      pids: { limit: 100 },
      blockIO: {
        weight: 500,
        weightDevice: [{ ...DISK, weight: 300 }],
        throttleReadBpsDevice: [{ ...DISK, rate: 600 }],
        throttleWriteBpsDevice: [{ ...DISK, rate: 600 }],
        throttleReadIOPSDevice: [{ ...DISK, rate: 600 }],
        throttleWriteIOPSDevice: [{ ...DISK, rate: 600 }],
      },
      hugepageLimits: [{ pageSize: '2MB', limit: 4_194_304 }],
      rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10_000 } },
      unified: { 'memory.high': '900000' },
    },
    sysctl: { 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '65536' },
    seccomp: {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      listenerPath: '/run/agent.sock',
      listenerMetadata: 'for the agent',
      syscalls: [
        { names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' },
        {
          names: ['personality', 'clone'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 1,
          args: [{ index: 0, value: 8, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
        },
      ],
    },
    rootfsPropagation: 'slave',
    maskedPaths: ['/proc/kcore'],
    readonlyPaths: ['/proc/sys'],
    mountLabel: 'system_u:object_r:svirt_sandbox_file_t:s0:c715,c811',
    personality: { domain: 'LINUX' },
    intelRdt: {
      closID: 'guaranteed',
      schemata: ['L3:0=ff'],
      l3CacheSchema: 'L3:0=7f0;1=1f',
      memBwSchema: 'MB:0=20;1=70',
      enableMonitoring: true,
      enableCMT: true,
      enableMBM: true,
    },
    memoryPolicy: { mode: 'MPOL_INTERLEAVE', nodes: '0-1', flags: ['MPOL_F_STATIC_NODES'] },
  },
} as const satisfies Complete<OciConfig>

/** The same with nothing optional at any depth but the members of lists and dictionaries. */
type Complete<T> = T extends readonly unknown[] ? T : { readonly [K in keyof T]-?: CompletePart<NonNullable<T[K]>> }
type CompletePart<T> = T extends string | number | boolean | readonly unknown[]
  ? T
  : string extends keyof T
    ? T
    : Complete<T>

type Node = Record<string | number, unknown>

/** A copy of `document` in which the member at `path` has another value; `undefined` removes it. */
export function changed(document: unknown, path: readonly (string | number)[], value: unknown): unknown {
  // Not structuredClone, which keeps what is shared shared.
  const copy = JSON.parse(JSON.stringify(document)) as Node
  let node = copy
  for (const key of path.slice(0, -1)) node = node[key] as Node
  const last = path.at(-1) ?? ''
  if (value !== undefined) node[last] = value
  else if (Array.isArray(node)) node.splice(Number(last), 1)
  else delete node[last]
  return copy
}

/** `linux.devices[0].type` as keys. */
export function keys(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|\["([^"]*)"\]|([^.[\]]+)/g)].map(([, index, quoted, name]) =>
    index === undefined ? (quoted ?? name ?? '') : Number(index),
  )
}

/** FULL as text with another value at `path`; `undefined` removes it. */
export function withValue(path: string, value: unknown): string {
  return JSON.stringify(changed(FULL, keys(path), value))
}

/** What the reader says about FULL with another value at `path`, and what it adds as a hint. */
export function complaint(path: string, value: unknown): string {
  return messageOf(() => readConfig(withValue(path, value)))
}

/** The message of an INVALID_CONFIG and its hint, or `taken`. */
export function messageOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    expect(error).toMatchObject({ name: 'TscrunError', code: 'INVALID_CONFIG' })
    const { message, hint } = error as { message: string; hint?: string }
    return hint === undefined ? message : `${message} (${hint})`
  }
  return 'taken'
}
