import { describe, expect, it } from 'vitest'
import type { OciSeccomp } from '../../src/model/config.ts'
import {
  SECCOMP_ACTIONS,
  SECCOMP_ARCHITECTURES,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
} from '../../src/security/seccomp/names.ts'
import { compileSeccomp } from '../../src/security/seccomp/compile.ts'
import { readConfig } from '../../src/spec/read-config.ts'
import { complaint, changed, FULL, keys } from './spec-full-config.ts'

const linux = (path: string, value: unknown): string => complaint(`linux.${path}`, value)

describe('in linux', () => {
  it.each<[path: string, value: unknown, message: string]>([
    [
      'namespaces[1].type',
      'net',
      'namespaces[1].type: unknown namespace type net (one of cgroup, ipc, mount, network, pid, time, user, uts)',
    ],
    ['namespaces[1].type', 'networks', 'namespaces[1].type: unknown namespace type networks (did you mean network)'],
    ['namespaces[1].type', 'pid', 'namespaces[1]: the namespace pid is there twice'],
    ['namespaces[0].path', 'ns/pid', 'namespaces[0].path: ns/pid is not an absolute path'],
    ['namespaces[5]', undefined, 'uidMappings: there is no user namespace in linux.namespaces'],
    ['namespaces[1]', undefined, 'netDevices: there is no network namespace in linux.namespaces'],
    ['namespaces[7]', undefined, 'timeOffsets: there is no new time namespace in linux.namespaces'],
    ['namespaces[7].path', '/proc/1/ns/time', 'timeOffsets: there is no new time namespace in linux.namespaces'],
    [
      'namespaces[3]',
      undefined,
      'sysctl["kernel.shmmax"]: it would change the host, whose ipc namespace the container shares',
    ],
    ['uidMappings[0].size', 0, 'uidMappings[0].size: 0 is not a whole number from 1 to 4294967295'],
    ['gidMappings[0].size', 2 ** 32 - 1, 'gidMappings[0].size: 4294967295 goes beyond the last id, 4294967294'],
    ['gidMappings[0].hostID', undefined, 'gidMappings[0].hostID: missing'],
    [
      'timeOffsets.realtime',
      { secs: 1 },
      'timeOffsets.realtime: the time namespace has no clock realtime (one of boottime, monotonic)',
    ],
    [
      'timeOffsets.boottime.nanosecs',
      1e9,
      'timeOffsets.boottime.nanosecs: 1000000000 is not a whole number from 0 to 999999999',
    ],
    [
      'timeOffsets.boottime.secs',
      1e10,
      'timeOffsets.boottime.secs: 10000000000 seconds are more than the kernel takes',
    ],
    ['devices[0].type', 'x', 'devices[0].type: unknown device type x (one of c, b, u, p)'],
    ['devices[0].path', 'fuse', 'devices[0].path: fuse is not an absolute path'],
    ['devices[0].major', 4096, 'devices[0].major: 4096 is not a whole number from 0 to 4095'],
    ['devices[0].minor', undefined, 'devices[0].minor: missing; only a fifo (type p) has none'],
    ['devices[0].fileMode', 2 ** 16, 'devices[0].fileMode: 65536 is not a whole number from 0 to 65535'],
    ['netDevices["eth 7"]', {}, 'netDevices["eth 7"]: "eth 7" is not the name of a network interface'],
    ['netDevices.eth7.name', 'eth8', 'netDevices.eth8.name: two interfaces are to be called eth8'],
    [
      'sysctl["kernel.shmmx"]',
      '1',
      'sysctl["kernel.shmmx"]: not kept per namespace, so it would change the host (did you mean kernel.shmmax)',
    ],
    ['sysctl["net.ipv4.ip_forward"]', 1, 'sysctl["net.ipv4.ip_forward"]: a text is expected, not the number 1'],
    ['rootfsPropagation', 'slaves', 'rootfsPropagation: unknown propagation slaves (did you mean slave)'],
    ['maskedPaths[0]', 'proc', 'maskedPaths[0]: proc is not an absolute path'],
    ['personality.domain', 'LINUX64', 'personality.domain: unknown personality LINUX64 (did you mean LINUX)'],
    ['personality.flags', ['X'], 'personality.flags: the specification has no flag yet'],
    ['intelRdt.closID', 'a/b', 'intelRdt.closID: a/b is not the name of a directory'],
    ['intelRdt.closID', '..', 'intelRdt.closID: .. is not the name of a directory'],
    ['intelRdt.memBwSchema', 'L3:0=1', 'intelRdt.memBwSchema: "L3:0=1" does not begin with MB:'],
    ['intelRdt.memBwSchema', 'MB:0=1\nL3:0=1', 'intelRdt.memBwSchema: more than one line'],
    ['intelRdt.schemata[0]', 'a\nb', 'intelRdt.schemata[0]: more than one line'],
    ['memoryPolicy.mode', 'MPOL_BINDS', 'memoryPolicy.mode: unknown memory policy MPOL_BINDS (did you mean MPOL_BIND)'],
    ['memoryPolicy.mode', 'MPOL_LOCAL', 'memoryPolicy.nodes: MPOL_LOCAL has none'],
    ['memoryPolicy.nodes', undefined, 'memoryPolicy.nodes: MPOL_INTERLEAVE needs some'],
    [
      'memoryPolicy.flags[1]',
      'MPOL_F_RELATIVE_NODES',
      'memoryPolicy.flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other',
    ],
  ])('%s = %j', (path, value, message) => {
    expect(linux(path, value)).toBe(`config.json: linux.${message}`)
  })

  it('ranges of ids may not overlap, on either side', () => {
    const range = (containerID: number, hostID: number) => ({ containerID, hostID, size: 10 })
    expect(linux('uidMappings', [range(0, 100), range(10, 200)])).toBe('taken')
    expect(linux('uidMappings', [range(0, 100), range(9, 200)])).toContain(
      'uidMappings[1].containerID: 9 is in the range of [0]',
    )
    expect(linux('uidMappings', [range(5, 100), range(20, 91)])).toContain(
      'uidMappings[0].hostID: 100 is in the range of [1]',
    )
    const many = Array.from({ length: 341 }, (_, index) => range(index * 10, index * 10))
    expect(linux('uidMappings', many)).toContain('341 ranges, the kernel takes 340')
  })

  it('names of host and domain need a uts namespace', () => {
    const without = changed(FULL, keys('linux.namespaces[4]'), undefined)
    expect(() => readConfig(JSON.stringify(without))).toThrow(
      "config.json: hostname: it would change the host's, for there is no uts namespace in linux.namespaces",
    )
  })

  it('a mount that is to be shifted needs ids to be shifted by', () => {
    const { linux: part, ...rest } = FULL
    const { uidMappings: _uid, gidMappings: _gid, ...others } = part
    const namespaces = part.namespaces.filter(({ type }) => type !== 'user')
    const mount = { destination: '/data', source: '/srv', options: ['rbind', 'ridmap'] }
    const text = JSON.stringify({ ...rest, mounts: [mount], linux: { ...others, namespaces } })
    expect(() => readConfig(text)).toThrow(
      'config.json: mounts[0].options[1]: ridmap has no mapping to use: neither this mount nor the container has one',
    )
    expect(() => readConfig(JSON.stringify({ ...FULL, mounts: [mount] }))).not.toThrow()
  })
})

describe('in linux.resources', () => {
  it.each<[path: string, value: unknown, message: string]>([
    ['devices[0].allow', undefined, 'devices[0].allow: missing'],
    ['devices[1].type', 'p', 'devices[1].type: unknown kind of device p (one of a, c, b)'],
    ['devices[1].access', 'rwx', 'devices[1].access: rwx is not made of r, w and m'],
    ['devices[1].major', -2, 'devices[1].major: -2 is not a whole number from -1 to 4095'],
    ['memory.limit', -2, 'memory.limit: -2 is neither a limit nor -1 for unlimited'],
    ['memory.limit', 1.5, 'memory.limit: 1.5 is not a whole number'],
    ['memory.reservation', 3_000_000, 'memory: reservation: 3000000 bytes is above the memory limit of 1000000 bytes'],
    [
      'memory.swap',
      1,
      'memory: memory+swap limit: 1 bytes is below the memory limit of 1000000 bytes, which it includes',
    ],
    ['memory.swappiness', 60, 'memory.swappiness: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)'],
    ['memory.kernel', 4096, 'memory.kernel: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)'],
    [
      'memory.disableOOMKiller',
      true,
      'memory.disableOOMKiller: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)',
    ],
    ['cpu.cpus', '0-', 'cpu: cpuset.cpus: "0-" is no list of numbers (such as 0-3,7)'],
    ['cpu.period', 1, 'cpu: period: 1 is not a whole number of 1000 to 1000000'],
    ['cpu.idle', 2, 'cpu.idle: 2 is not a whole number from 0 to 1'],
    [
      'cpu.realtimeRuntime',
      1,
      'cpu.realtimeRuntime: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)',
    ],
    ['blockIO.weight', 5, 'blockIO: blkio weight: 5 is not a whole number of 10 to 1000'],
    ['blockIO.throttleReadBpsDevice[0].rate', undefined, 'blockIO.throttleReadBpsDevice[0].rate: missing'],
    [
      'blockIO.weightDevice[0].leafWeight',
      10,
      'blockIO.weightDevice[0].leafWeight: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)',
    ],
    ['hugepageLimits[0].pageSize', '2m', 'hugepageLimits: hugepage size: "2m" is no page size (such as 2MB or 1GB)'],
    ['rdma.mlx5_1', {}, 'rdma.mlx5_1: neither hcaHandles nor hcaObjects'],
    ['unified["cgroup.procs"]', '1', 'unified: cgroup file cgroup.procs: not a limit'],
    ['network', { classID: 1 }, 'network.classID: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)'],
    [
      'network',
      { priorities: [{ name: 'eth0', priority: 5 }] },
      'network.priorities: only cgroup v1 has this (leave it out; tscrun works with cgroup v2)',
    ],
  ])('%s = %j', (path, value, message) => {
    expect(linux(`resources.${path}`, value)).toBe(`config.json: linux.resources.${message}`)
  })

  it('what cgroup v1 alone has passes where it asks for nothing', () => {
    for (const [path, value] of [
      ['memory.kernel', -1],
      ['memory.kernelTCP', 0],
      ['memory.disableOOMKiller', false],
      ['memory.useHierarchy', true],
      ['cpu.realtimePeriod', 0],
      ['blockIO.leafWeight', 0],
      ['network', { classID: 0, priorities: [] }],
      ['pids', {}],
    ] as const) {
      expect(linux(`resources.${path}`, value)).toBe('taken')
    }
  })
})

describe('in linux.seccomp', () => {
  it.each<[path: string, value: unknown, message: string]>([
    ['defaultAction', undefined, 'defaultAction: missing'],
    [
      'defaultAction',
      'SCMP_ACT_DENY',
      'defaultAction: unknown action SCMP_ACT_DENY (one of SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP)',
    ],
    ['defaultAction', 'SCMP_ACT_ALLOW', 'defaultErrnoRet: SCMP_ACT_ALLOW returns no errno'],
    ['defaultErrnoRet', 4096, 'defaultErrnoRet: 4096 is not a number from 0 to 4095'],
    [
      'architectures[0]',
      'SCMP_ARCH_X86-64',
      'architectures[0]: unknown architecture SCMP_ARCH_X86-64 (did you mean SCMP_ARCH_X86_64)',
    ],
    [
      'flags[0]',
      'LOG',
      'flags[0]: unknown filter flag LOG (one of SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)',
    ],
    ['listenerPath', undefined, 'listenerPath: missing, and syscalls[0].action is SCMP_ACT_NOTIFY'],
    ['syscalls[0]', { names: [], action: 'SCMP_ACT_ALLOW' }, 'syscalls[0].names: empty: it names no system call'],
    ['syscalls[0].errnoRet', 1, 'syscalls[0].errnoRet: SCMP_ACT_NOTIFY returns no errno'],
    ['syscalls[1].args[0].index', 6, 'syscalls[1].args[0].index: 6 is not a whole number from 0 to 5'],
    [
      'syscalls[1].args[0].op',
      'SCMP_CMP_MASK_EQ',
      'syscalls[1].args[0].op: unknown comparison SCMP_CMP_MASK_EQ (did you mean SCMP_CMP_MASKED_EQ)',
    ],
    ['syscalls[1].args[0].value', -1, 'syscalls[1].args[0].value: -1 is not a whole number from 0 to 2^64-1'],
  ])('%s = %j', (path, value, message) => {
    expect(linux(`seccomp.${path}`, value)).toBe(`config.json: linux.seccomp.${message}`)
  })

  it('nobody is asked about everything, nor told without an address', () => {
    const { defaultErrnoRet: _errno, ...profile } = FULL.linux.seccomp
    expect(linux('seccomp', { ...profile, defaultAction: 'SCMP_ACT_NOTIFY' })).toMatch(
      /seccomp.defaultAction: .*named system calls only/,
    )
    const { listenerPath: _path, ...rest } = { ...profile, syscalls: [] }
    expect(linux('seccomp', rest)).toBe(
      'config.json: linux.seccomp.listenerMetadata: there is no listenerPath to send it to',
    )
    expect(linux('seccomp', { ...rest, listenerMetadata: '' })).toBe('taken')
  })

  it('all words that are taken are words the compiler knows', () => {
    const compiles = (profile: Partial<OciSeccomp>): void => {
      expect(() => compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', ...profile }, 'x64')).not.toThrow()
    }
    for (const defaultAction of SECCOMP_ACTIONS) compiles({ defaultAction })
    for (const op of SECCOMP_OPERATORS) {
      compiles({ syscalls: [{ names: ['read'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: 0, op }] }] })
    }
    for (const flag of SECCOMP_FLAGS) compiles({ flags: [flag] })
    compiles({ architectures: SECCOMP_ARCHITECTURES })
  })
})
