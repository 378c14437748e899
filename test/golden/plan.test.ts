import { describe, expect, it } from 'vitest'
import type { CgroupPlacement, LaunchSpec } from '../../src/model/launch.ts'
import type { RunOptions } from '../../src/model/run-options.ts'
import { compile } from '../../src/plan/compile.ts'
import { formatPlan } from '../../src/plan/format.ts'
import { compileSeccomp } from '../../src/security/seccomp/compile.ts'
import { capabilitiesOf } from '../../src/spec/capabilities.ts'
import { makeConfig, type ConfigInputs } from '../../src/spec/make.ts'
import { hostsFile, resolvConf } from '../../src/spec/network-files.ts'

/** Everything that the host decides, fixed. */
interface Case {
  readonly options?: RunOptions
  readonly spec?: Partial<LaunchSpec>
  readonly inputs?: Partial<ConfigInputs>
  /** The host's user namespace. */
  readonly hostUser?: boolean
}

const ID = 'c0ffee'.repeat(10).concat('beef')
const KERNEL_6_18 = { major: 6, minor: 18 }
const LAYERS: LaunchSpec['rootfs'] = {
  kind: 'overlay',
  base: '/var/lib/tscrun/layers',
  layers: ['bottom', 'middle', 'top'],
  idmap: true,
  upper: 'directory',
  volatile: true,
  mode: 0o755,
}
const CGROUP: CgroupPlacement = {
  parent: '/sys/fs/cgroup/tscrun',
  name: ID,
  writes: [
    { controller: 'memory', file: 'memory.max', value: '67108864' },
    { controller: 'memory', file: 'memory.swap.max', value: '67108864', optional: 'the kernel counts no swap' },
    { controller: 'cpu', file: 'cpu.max', value: '50000 100000' },
    { controller: 'pids', file: 'pids.max', value: '100' },
  ],
  deviceFilter: Buffer.alloc(160),
}

function planOf({ options = {}, spec = {}, inputs = {}, hostUser = false }: Case): string {
  const config = makeConfig({
    id: ID,
    name: 'calm_harbor',
    image: { env: ['FROM=image'], entrypoint: ['/entry'], cmd: ['serve'], workingDir: '/srv', labels: new Map() },
    args: [],
    options,
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
    ...(hostUser ? {} : { idRange: { hostId: 0x70000000, size: 65536 } }),
    capabilities: capabilitiesOf(options, undefined),
    hostname: 'c0ffeec0ffee',
    devices: [],
    cpus: [0],
    nofileHard: 524_288,
    rootPath: 'rootfs',
    resolveDevice: () => ({ major: 254, minor: 0 }),
    ...inputs,
  })
  const filter = compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['reboot'], action: 'SCMP_ACT_ERRNO' }] }, 'x64')
  const ownNetwork = options.network !== 'host'
  const files = [
    { target: '/etc/hosts', name: 'hosts', content: hostsFile({ names: ['c0ffeec0ffee'], addresses: [] }, options.addHost ?? [], ownNetwork, '127.0.0.1 localhost host') },
    { target: '/etc/resolv.conf', name: 'resolv.conf', content: resolvConf('nameserver 127.0.0.53\n', {}, ownNetwork) },
  ]
  return formatPlan(
    compile({
      id: ID,
      config,
      directory: `/var/lib/tscrun/containers/${ID}`,
      rootfs: LAYERS,
      files,
      stdio: { kind: 'copied', interactive: false },
      seccomp: { program: filter.program, flags: 0 },
      init: options.init === true,
      kernel: KERNEL_6_18,
      ...spec,
    }),
  )
}

const HOST_ROOT: LaunchSpec['rootfs'] = { kind: 'overlay', base: '/', layers: ['.'], idmap: true, upper: 'tmpfs', volatile: true, mode: 0o755 }

/** Read them as a reviewer: every line is something the kernel is asked as root. */
const CASES: Readonly<Record<string, Case>> = {
  'image-linux-6.18': { spec: { cgroup: CGROUP } },
  'image-linux-6.1': { spec: { kernel: { major: 6, minor: 1 } } },
  'rootfs-overlay': { options: { rootfs: { path: '/', overlay: true } }, spec: { rootfs: HOST_ROOT } },
  'rootfs-directory': { spec: { rootfs: { kind: 'directory', path: '/srv/rootfs', idmap: true } } },
  'userns-host': { options: { namespaces: { user: 'host' } }, hostUser: true, spec: { rootfs: { ...LAYERS, idmap: false } } },
  'network-host': { options: { network: 'host' } },
  'network-bridge': {
    spec: {
      network: {
        links: [
          {
            driver: 'bridge',
            on: 'tscrun0',
            hostName: 'tvc0ffeec0ffe0',
            name: 'eth0',
            index: 2,
            mac: '0a:c0:ff:ee:00:00',
            mtu: 1500,
            addresses: [{ address: '10.110.0.7', prefix: 16 }, { address: 'fd00::7', prefix: 64 }],
            gateways: ['10.110.0.1', 'fd00::1'],
          },
        ],
        forwards: [{ protocol: 'tcp', address: '0.0.0.0', port: 8080, target: '10.110.0.7', targetPort: 80 }],
        firewall: { program: '/usr/sbin/nft', add: 'add element ...', remove: 'delete element ...', note: { path: '/run/tscrun/<id>/ports.json', takenBack: '/run/tscrun/<id>/ports.json.taken-back', text: '[...]' } },
      },
    },
  },
  'namespaces-host': { options: { network: 'host', namespaces: { pid: 'host', ipc: 'host', uts: 'host', cgroup: 'host' } } },
  'namespaces-joined': {
    options: { network: { path: '/run/netns/web' }, namespaces: { ipc: { path: '/proc/7/ns/ipc' }, uts: { path: '/proc/7/ns/uts' }, pid: { path: '/proc/7/ns/pid' }, time: { boottime: 3600 } } },
  },
  'init-and-terminal': { options: { init: true, tty: true, interactive: true }, spec: { stdio: { kind: 'terminal', interactive: true } } },
  'library-held': { spec: { stdio: { kind: 'direct', interactive: false }, kernel: KERNEL_6_18, held: true } },
  'library-direct-streams': { spec: { stdio: { kind: 'direct', interactive: true } } },
  user: {
    options: { security: { noNewPrivileges: true }, capDrop: ['ALL'], capAdd: ['NET_BIND_SERVICE'], umask: 0o27, oomScoreAdj: 300 },
    inputs: { user: { uid: 1000, gid: 1000, additionalGids: [29, 10], home: '/home/alice' } },
  },
  'files-and-limits': {
    options: {
      readOnly: true,
      volumes: [
        { source: '/srv/data', target: '/data/inner', readonly: true },
        { source: '/srv/shared', target: '/data', propagation: 'rslave', flags: ['noexec'] },
      ],
      tmpfs: [{ target: '/run', options: ['size=16m', 'mode=0755'] }],
      sysctls: { 'net.core.somaxconn': '1024', 'kernel.domainname': 'example.org' },
      ulimits: [{ name: 'nofile', soft: 1000, hard: 2000 }, { name: 'core', soft: 0, hard: 0 }],
      shmSize: 2 ** 20,
      addHost: ['db:10.0.0.7'],
    },
    inputs: { devices: [{ type: 'c', path: '/dev/net/tun', major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 }] },
    spec: { cgroup: CGROUP },
  },
  privileged: {
    options: { privileged: true },
    hostUser: true,
    inputs: { devices: [{ type: 'b', path: '/dev/vda', major: 254, minor: 0, fileMode: 0o660, uid: 0, gid: 6 }] },
  },
}

describe('the plan of', () => {
  it.each(Object.entries(CASES))('%s', async (name, input) => {
    const text = planOf(input).replaceAll(ID, '<id>')
    await expect(text).toMatchFileSnapshot(`plans/${name}.txt`)
  })

  it('the same input is the same', () => {
    for (const input of Object.values(CASES)) expect(planOf(input)).toBe(planOf(input))
  })
})
