import type { HostReport } from '../../src/engine/doctor/report.ts'

/** /proc/self/uid_map of the first user namespace. */
const ALL_IDS = '         0          0 4294967295\n'
const GIB = 2 ** 30

/** A host where everything works: root on Debian 13 with version 2 of cgroups. */
export const GOOD: HostReport = {
  facts: {
    kernel: { major: 6, minor: 12, release: '6.12.48-amd64' },
    arch: 'x64',
    euid: 0,
    cgroup: {
      mode: 'unified',
      mountpoint: '/sys/fs/cgroup',
      readonly: false,
      own: '/user.slice/session.scope',
      controllers: ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids', 'rdma', 'misc'],
      v1Controllers: [],
    },
    userNamespaces: true,
    apparmor: true,
    selinux: false,
  },
  nodeVersion: '20.19.2',
  capabilities: 0x1ffffffffffn,
  missingCalls: [],
  namespaces: {
    limits: {
      user: '31000\n',
      mnt: '31000\n',
      pid: '31000\n',
      net: '31000\n',
      ipc: '31000\n',
      uts: '31000\n',
      cgroup: '31000\n',
    },
    apparmorRestricts: undefined,
    unprivilegedClone: '1\n',
    made: { ok: true },
    madeUser: { ok: true },
  },
  identities: {
    ids: { subuid: 'jo:100000:65536\n', uidMap: ALL_IDS, gidMap: ALL_IDS, nested: false },
    subgid: 'jo:100000:65536\n',
    passwd: 'root:x:0:0::/root:/bin/sh\njo:x:1000:1000::/home/jo:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n',
    taken: 0,
  },
  store: {
    path: '/var/lib/tscrun',
    filesystem: 'ext4',
    freeBytes: 20 * GIB,
    files: { total: 1e6, free: 9e5 },
    readonly: false,
    idmapped: { ok: true },
  },
  nesting: { inside: undefined, ownUserNamespace: false, procMasks: [] },
  filesystems: 'nodev\tproc\nnodev\tdevpts\n\text4\nnodev\toverlay\n',
  overlayModule: true,
  seccompActions: 'kill_process kill_thread trap errno user_notif trace log allow\n',
  lsm: 'lockdown,capability,yama,apparmor,bpf',
  apparmorEnabled: 'Y\n',
  deviceFilter: undefined,
  terminal: { input: true, output: true },
  certificates: { bundle: '/etc/ssl/certs/ca-certificates.crt', dangling: [] },
  programs: { nft: '/usr/sbin/nft', pasta: '/usr/bin/pasta' },
}
