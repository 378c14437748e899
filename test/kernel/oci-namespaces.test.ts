import { execFileSync } from 'node:child_process'
import { mkdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OciConfig, OciNamespace } from '../../src/model/config.ts'
import {
  type Bundles,
  type Change,
  DEFAULT_MOUNTS,
  holdNamespaces,
  leftOf,
  makeBundles,
  RUNTIME,
} from './fixtures/bundles.ts'

let bundles: Bundles
beforeAll(() => (bundles = makeBundles()))
afterAll(() => bundles.dispose())

const TYPES = ['pid', 'network', 'ipc', 'uts', 'mount'] as const
const FILES = {
  network: 'net',
  mount: 'mnt',
  ipc: 'ipc',
  uts: 'uts',
  pid: 'pid',
  user: 'user',
  cgroup: 'cgroup',
  time: 'time',
} as const
const IDS = [{ containerID: 0, hostID: 400_000, size: 65_536 }]
const OWN_IDS = { uidMappings: IDS, gidMappings: IDS }
const LIST = 'for n in net mnt ipc uts pid user cgroup time; do readlink /proc/self/ns/$n; done'

const fresh = (...types: readonly OciNamespace['type'][]): OciNamespace[] => types.map((type) => ({ type }))

/** What the script says; nothing on stderr. */
function outputOf(script: string, change: Change): string {
  const { code, stdout, stderr } = bundles.run(script, change)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trimEnd()
}

/** Namespaces of the container's process by file: `net:[4026531833]`. */
function namespacesIn(namespaces: readonly OciNamespace[], change: Change = {}): Readonly<Record<string, string>> {
  const links = outputOf(LIST, { ...change, linux: { ...change.linux, namespaces } }).split('\n')
  return Object.fromEntries(links.map((link) => [link.split(':')[0] ?? '', link]))
}

/** The group tty (5) is not mapped. */
const withoutTty = (config: OciConfig): OciConfig => ({
  ...config,
  mounts:
    config.mounts?.map((mount) =>
      mount.type === 'devpts' ? { ...mount, options: ['newinstance', 'ptmxmode=0666'] } : mount,
    ) ?? [],
})

describe("a caller's namespaces", () => {
  it.each(['network', 'ipc', 'uts', 'mount', 'cgroup'] as const)('of type %s are joined by path', async (type) => {
    const other = await holdNamespaces('--net', '--ipc', '--uts', '--mount', '--cgroup')
    try {
      const path = `/proc/${other.pid}/ns/${FILES[type]}`
      const inside = namespacesIn([...fresh(...TYPES.filter((each) => each !== type)), { type, path }])
      expect(inside[FILES[type]]).toBe(readlinkSync(path))
      expect(inside[FILES[type]]).not.toBe(readlinkSync(`/proc/self/ns/${FILES[type]}`))
    } finally {
      other.kill()
    }
  })

  it.each([
    ['pid', '--pid', 'pid_for_children'],
    ['time', '--time', 'time_for_children'],
  ] as const)('of type %s are joined by a path of those that only children are in', async (type, flag, file) => {
    const other = await holdNamespaces(flag, '--fork', '--kill-child')
    try {
      const path = `/proc/${other.pid}/ns/${file}`
      const inside = namespacesIn([...fresh(...TYPES.filter((each) => each !== type)), { type, path }])
      expect(inside[type]?.replace(/^\w+/, '')).toBe(readlinkSync(path).replace(/^\w+/, ''))
    } finally {
      other.kill()
    }
  })

  it('owned by a user namespace that is joined are joined with it', async () => {
    const other = await holdNamespaces('--user', '--map-root-user', '--net', '--ipc', '--uts')
    try {
      const at = (file: string): string => `/proc/${other.pid}/ns/${file}`
      const inside = namespacesIn(
        [
          ...fresh('pid', 'mount'),
          { type: 'network', path: at('net') },
          { type: 'user', path: at('user') },
          { type: 'ipc', path: at('ipc') },
          { type: 'uts', path: at('uts') },
        ],
        { edit: withoutTty },
      )
      for (const file of ['net', 'user', 'ipc', 'uts']) expect(inside[file]).toBe(readlinkSync(at(file)))
      const linux = { namespaces: [...fresh('pid', 'mount'), { type: 'user', path: at('user') } as const] }
      // The device's owner is who root is in there, by the mapping of the namespace.
      expect(outputOf('stat -c %u /dev/null', { linux, edit: withoutTty })).toBe('0')
    } finally {
      other.kill()
    }
  })

  it('of the wrong type are refused, naming the path', () => {
    const path = '/proc/self/ns/net'
    for (const type of ['mount', 'ipc', 'user'] as const) {
      const namespaces = [...fresh(...TYPES.filter((each) => each !== type)), { type, path }]
      const { code, stderr } = bundles.create('true', { linux: { namespaces } })
      expect({ type, code }).toEqual({ type, code: 1 })
      expect(stderr).toMatch(/join the \w+ namespace/)
    }
  })

  it("not listed are the caller's", () => {
    const inside = namespacesIn(fresh('mount'))
    for (const file of ['net', 'ipc', 'uts', 'pid', 'user', 'cgroup']) {
      expect(inside[file]).toBe(readlinkSync(`/proc/self/ns/${file}`))
    }
    expect(inside['mnt']).not.toBe(readlinkSync('/proc/self/ns/mnt'))
  })

  it("of the host beside a user namespace of one's own show the host's, read-only where asked", () => {
    const change = {
      linux: { namespaces: fresh('mount', 'user', 'uts'), ...OWN_IDS },
      mounts: [
        { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'nodev', 'noexec'] },
      ],
    }
    const script = `readlink /proc/self/ns/net; ls -d /sys/class/net/lo
      cut -d" " -f5,6 /proc/self/mountinfo | grep "^/sys \\|mqueue" | sort`
    expect(outputOf(script, change).split('\n')).toEqual([
      readlinkSync('/proc/self/ns/net'),
      '/sys/class/net/lo',
      '/dev/mqueue rw,nosuid,nodev,noexec,relatime',
      '/sys ro,nosuid,nodev,noexec,relatime',
    ])
  })

  it('of a user may map several ranges, and root need not be among them', () => {
    const ranges = [
      { containerID: 1000, hostID: 400_000, size: 10 },
      { containerID: 5000, hostID: 500_000, size: 10 },
    ]
    const linux = { namespaces: fresh(...TYPES, 'user'), uidMappings: ranges, gidMappings: ranges }
    const process = { user: { uid: 5003, gid: 1001 } }
    const script = 'id -u; id -g; tr -s " " < /proc/self/uid_map; stat -c %u /dev /dev/null; echo > /dev/null'
    expect(outputOf(script, { linux, process, edit: withoutTty })).toBe(
      '5003\n1001\n 1000 400000 10\n 5000 500000 10\n1000\n1000',
    )
  })

  it('of time have their offsets', () => {
    const timeOffsets = { boottime: { secs: 7_000_000 }, monotonic: { secs: 3, nanosecs: 5 } }
    const script = 'cut -d. -f1 /proc/uptime; tr -s " " < /proc/self/timens_offsets'
    const [uptime, ...offsets] = outputOf(script, {
      linux: { namespaces: fresh(...TYPES, 'time'), timeOffsets },
    }).split('\n')
    expect(Number(uptime)).toBeGreaterThan(7_000_000)
    expect(offsets).toEqual(['monotonic 3 5', 'boottime 7000000 0'])
  })

  it('keep their sysctls, with a /proc of the container and without', () => {
    const sysctl = { 'net.ipv4.ip_forward': '1', 'kernel.msgmax': '4242', 'kernel.domainname': 'a.b' }
    const namespaces = fresh(...TYPES)
    const values = 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/kernel/domainname'
    expect(outputOf(values, { linux: { namespaces, sysctl } })).toBe('1\n4242\na.b')
    const mounts = DEFAULT_MOUNTS.map((mount) =>
      mount.destination === '/proc' ? { ...mount, options: ['subset=pid'] } : mount,
    ).concat({ destination: '/whole', type: 'proc', source: 'proc' })
    const elsewhere = `ls /proc | grep -c sys; ${values.replaceAll('/proc', '/whole')}`
    const edit = (config: OciConfig): OciConfig => ({ ...config, mounts })
    expect(outputOf(elsewhere, { linux: { namespaces, sysctl }, edit })).toBe('0\n1\n4242\na.b')
    const { stderr } = bundles.create('true', { linux: { namespaces, sysctl: { 'kernel.pid_max': '99999' } } })
    expect(stderr).toContain('kernel.pid_max')
  })

  it('of the network get the interfaces that the config names, with their addresses, up', () => {
    const bundle = bundles.bundle('ip -o addr show dev eth7; ip -o link show dev eth7 | grep -c ",UP"', {
      linux: { namespaces: fresh(...TYPES), netDevices: { ours0: { name: 'eth7' } } },
    })
    const links =
      'ip link add ours0 type veth peer name theirs0; ip addr add 10.77.0.5/24 dev ours0; ip addr add fd77::5/64 dev ours0'
    const script = `${links}; ${RUNTIME} --root ${bundles.directory}/run run -b ${bundle} net </dev/null; ip -o link show | grep -c ours0`
    const out = execFileSync('unshare', ['-n', 'sh', '-c', `${script}; true`], { encoding: 'utf8' })
    expect(out).toMatch(/eth7 +inet 10\.77\.0\.5\/24/)
    expect(out).toMatch(/eth7 +inet6 fd77::5\/64/)
    expect(out.trimEnd().split('\n').slice(-2)).toEqual(['1', '0'])
    const { stderr } = bundles.create('true', {
      linux: { namespaces: fresh(...TYPES), netDevices: { nobody0: {} } },
    })
    expect(stderr).toContain('linux.netDevices: move nobody0 into the container: no such interface (ENODEV)')
  })

  it('of a user have devices and volumes of the host, shifted where asked', () => {
    const source = join(bundles.directory, 'volume')
    mkdirSync(source)
    writeFileSync(join(source, 'file'), '')
    // Root of the container is nobody in a root filesystem that is the host's.
    for (const name of ['plain', 'shifted']) mkdirSync(join(bundles.rootfs, 'mnt', name), { recursive: true })
    const mounts = [
      { destination: '/mnt/plain', type: 'bind', source, options: ['rbind'] },
      { destination: '/mnt/shifted', type: 'bind', source, options: ['rbind', 'idmap'] },
    ]
    const linux = { namespaces: fresh(...TYPES, 'user'), ...OWN_IDS }
    expect(outputOf('stat -c %u /mnt/plain/file /mnt/shifted/file; echo > /dev/null', { linux, mounts })).toBe(
      '65534\n0',
    )
  })

  it('leave nothing behind', () => expect(leftOf(bundles)).toEqual([]))
})
