import { describe, expect, it } from 'vitest'
import { judge } from '../../src/engine/doctor.ts'
import { procMasks } from '../../src/engine/doctor/read.ts'
import type { HostReport } from '../../src/engine/doctor/report.ts'
import type { DoctorCheck } from '../../src/engine/api.ts'
import { GOOD } from './doctor-host.ts'

type Part = Exclude<
  { [Key in keyof HostReport]: HostReport[Key] extends object ? Key : never }[keyof HostReport],
  undefined
>

/** The good host with some of one part changed. */
function withPart<Key extends Part>(part: Key, changes: Partial<HostReport[Key]>): HostReport {
  return { ...GOOD, [part]: { ...GOOD[part], ...changes } }
}

function withKernel(release: string): HostReport {
  const [major = 0, minor = 0] = release.split('.').map(Number)
  return withPart('facts', { kernel: { major, minor, release } })
}

function withCgroup(changes: Partial<HostReport['facts']['cgroup']>): HostReport {
  return withPart('facts', { cgroup: { ...GOOD.facts.cgroup, ...changes } })
}

function check(report: HostReport, name: string): DoctorCheck {
  const found = judge(report).filter((candidate) => candidate.name === name)
  expect(found, name).toHaveLength(1)
  return found[0] as DoctorCheck
}

/** `name: result` of everything that is not ok. */
function misses(report: HostReport): string[] {
  return judge(report).flatMap(({ name, result }) => (result === 'ok' ? [] : [`${name}: ${result}`]))
}

describe('a host where everything works', () => {
  it('has nothing to mend', () => {
    expect(misses(GOOD)).toEqual([])
    expect(judge(GOOD).filter(({ remedy }) => remedy !== undefined)).toEqual([])
  })

  it('names each check once', () => {
    const names = judge(GOOD).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })
})

/** Hosts that lack something, for what holds of every miss. */
const LACKING: readonly HostReport[] = [
  withKernel('4.19.0'),
  withKernel('5.15.0-100-generic'),
  withPart('facts', { arch: 'ia32', euid: 1000, userNamespaces: false }),
  { ...GOOD, nodeVersion: '18.20.4', capabilities: 0n },
  { ...GOOD, missingCalls: [{ name: 'clone3', errno: 'ENOSYS' }], seccompActions: undefined, lsm: undefined },
  { ...GOOD, filesystems: '', overlayModule: false, deviceFilter: 'EPERM' },
  withPart('namespaces', { made: { ok: false, failed: 'clone3: make the namespaces: EPERM', errno: 'EPERM' } }),
  withPart('namespaces', { madeUser: { ok: false, failed: 'clone3: make the namespaces: ENOSPC', errno: 'ENOSPC' } }),
  withPart('identities', { ids: { ...GOOD.identities.ids, subuid: 'containers:100000:100\n' }, taken: 1 }),
  withPart('store', { filesystem: 'nfs', freeBytes: 0, idmapped: undefined }),
  withPart('store', { readonly: true, idmapped: { ok: false, failed: 'mount_setattr: EINVAL', errno: 'EINVAL' } }),
  withPart('nesting', { inside: 'docker', ownUserNamespace: true, procMasks: ['/proc/kcore'] }),
  withCgroup({ mode: 'none', controllers: [], readonly: true }),
  withCgroup({ mode: 'v1', controllers: [], readonly: true, v1Controllers: ['memory', 'io'] }),
  withPart('certificates', { bundle: undefined, dangling: [{ variable: 'SSL_CERT_FILE', path: '/nowhere.pem' }] }),
]

describe('every miss', () => {
  it.each(LACKING.map((report) => [misses(report).join(', '), report] as const))(
    'comes with a remedy: %s',
    (text, report) => {
      expect(text).not.toBe('')
      for (const { name, result, remedy, detail } of judge(report)) {
        expect(`${remedy ?? ''}${detail}`).not.toContain('\n')
        expect(`${remedy ?? ''}${detail}`).not.toContain('undefined')
        if (result !== 'ok') expect(remedy, name).toMatch(/./)
      }
    },
  )
})

describe('kernel and programs', () => {
  it('older than Linux 5.14 cannot run containers; older than 5.19 without own users', () => {
    expect(check(withKernel('5.10.0-35-amd64'), 'kernel').result).toBe('fail')
    expect(check(withKernel('5.14.0-570.el9'), 'kernel').result).toBe('warn')
    expect(check(withKernel('5.19.0'), 'kernel').result).toBe('ok')
    expect(check(withKernel('7.0.0-rc1'), 'kernel').result).toBe('ok')
  })

  it('other processors and older Nodes are named', () => {
    expect(check(withPart('facts', { arch: 'riscv64' }), 'processor')).toMatchObject({
      result: 'fail',
      detail: 'riscv64 is not supported',
    })
    expect(check({ ...GOOD, nodeVersion: '20.18.3' }, 'node').result).toBe('fail')
    expect(check({ ...GOOD, nodeVersion: '18.19.0' }, 'node').remedy).toContain('TSCRUN_NODE=')
    expect(check({ ...GOOD, nodeVersion: '24.1.0' }, 'node').result).toBe('ok')
  })

  it('an ordinary user is told to use sudo, not that things are missing', () => {
    const report = {
      ...withPart('facts', { euid: 1000 }),
      namespaces: { ...GOOD.namespaces, made: undefined, madeUser: undefined },
      store: { ...GOOD.store, idmapped: undefined },
      deviceFilter: 'not tried',
    }
    expect(misses(report)).toEqual(['privileges: fail'])
    expect(check(report, 'privileges').remedy).toBe('sudo tscrun doctor')
  })

  it('missing calls tell a filter from an old kernel', () => {
    const refused = { ...GOOD, missingCalls: [{ name: 'clone3', errno: 'EPERM' }] }
    expect(check(refused, 'system calls')).toMatchObject({ result: 'fail', detail: 'clone3: EPERM' })
    expect(check(refused, 'system calls').remedy).toMatch(/^a seccomp filter is in the way/)
    const absent = { ...GOOD, missingCalls: [{ name: 'mount_setattr', errno: 'ENOSYS' }] }
    expect(check(absent, 'system calls').remedy).toMatch(/^boot Linux 5.14/)
  })

  it('seccomp without the actions of the default filter is named', () => {
    expect(check({ ...GOOD, seccompActions: 'kill_process trap errno allow' }, 'seccomp').detail).toBe('no trace')
    expect(check({ ...GOOD, seccompActions: undefined }, 'seccomp').detail).toContain('no filters')
  })

  it('AppArmor that cannot be asked is a miss, no LSM at all is none', () => {
    expect(check({ ...GOOD, lsm: undefined }, 'security modules').remedy).toContain('mount -t securityfs')
    expect(check({ ...GOOD, lsm: undefined, apparmorEnabled: undefined }, 'security modules').result).toBe('ok')
    expect(check({ ...GOOD, lsm: '\n' }, 'security modules').detail).toBe('none')
  })
})

describe('namespaces', () => {
  it('that are switched off come with the settings to change', () => {
    const limits = { ...GOOD.namespaces.limits, net: '0\n', cgroup: '0\n' }
    expect(check(withPart('namespaces', { limits }), 'namespaces')).toMatchObject({
      result: 'fail',
      remedy: 'sysctl -w user.max_net_namespaces=15000 user.max_cgroup_namespaces=15000',
    })
  })

  it('without user namespaces containers still run', () => {
    const limits = { ...GOOD.namespaces.limits, user: '0\n' }
    const report = { ...withPart('namespaces', { limits }), facts: { ...GOOD.facts, userNamespaces: false } }
    expect(misses(report)).toEqual(['user namespaces: warn'])
    expect(check(report, 'user namespaces').remedy).toContain('sysctl -w user.max_user_namespaces=15000')
    expect(check(withPart('facts', { userNamespaces: false }), 'user namespaces').remedy).toContain('CONFIG_USER_NS')
  })

  it('that only ordinary users are refused are no miss for root', () => {
    const report = withPart('namespaces', { apparmorRestricts: '1\n', unprivilegedClone: '0\n' })
    expect(misses(report)).toEqual([])
    expect(check(report, 'ordinary users').remedy).toContain(
      'kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1',
    )
  })
})

describe('id ranges', () => {
  const ranges = (subuid: string, subgid = subuid, more: Partial<HostReport['identities']> = {}): DoctorCheck =>
    check(withPart('identities', { ids: { ...GOOD.identities.ids, subuid }, subgid, ...more }), 'id ranges')

  it('come from the line of containers, else from the default pool', () => {
    expect(ranges('containers:2147483648:16777216\n')).toMatchObject({
      result: 'ok',
      detail: '2147483648-2164260863 (containers in /etc/subuid), 0 of 256 ranges in use',
    })
    expect(ranges('').detail).toContain('the default pool')
  })

  it('that somebody else has too are a miss, with ids nobody has as the remedy', () => {
    const check = ranges('jo:100000:65536\ncontainers:131072:1048576\nal:2000000000:65536\n')
    expect(check).toMatchObject({ result: 'warn' })
    expect(check.detail).toContain('jo in /etc/subuid has some of these ids too')
    expect(check.remedy).toContain('containers:2000093184:16777216')
    expect(ranges('', 'jo:1879048192:65536\n').detail).toContain('jo in /etc/subgid')
    expect(ranges('', '', { passwd: 'huge:x:1879050000:100::/:/bin/sh\n' }).detail).toContain('user huge has one')
  })

  it('that touch without overlapping are fine', () => {
    expect(ranges('jo:65536:65536\ncontainers:131072:1048576\nal:1179648:65536\n').result).toBe('ok')
  })

  it('must be the same for groups, large enough, and not used up', () => {
    expect(ranges('containers:2147483648:16777216\n', '').remedy).toContain('containers:2147483648:16777216')
    expect(ranges('containers:2147483648:1000\n').detail).toContain('fewer than 65536 ids')
    expect(ranges('containers:4294900000:131072\n').detail).toContain('beyond the last id')
    expect(ranges('containers:2147483648:131072\n', undefined, { taken: 2 })).toMatchObject({ result: 'fail' })
  })

  it('of a user namespace that has none to give are told with what would', () => {
    const few = { subuid: '', uidMap: '0 100000 65536\n', gidMap: '0 100000 65536\n', nested: true }
    expect(check(withPart('identities', { ids: few }), 'id ranges')).toMatchObject({
      result: 'warn',
      detail: expect.stringContaining('has no 65536 ids beside its own'),
      remedy: expect.stringContaining('131072'),
    })
    const many = { ...few, uidMap: '0 100000 200000\n', gidMap: '0 100000 200000\n' }
    expect(check(withPart('identities', { ids: many, subgid: '' }), 'id ranges')).toMatchObject({
      result: 'ok',
      detail: '65536-199999 (of this user namespace), 0 of 2 ranges in use',
    })
  })

  it('ignore lines that are none', () => {
    expect(ranges('# jo:1879048192:65536\nbad\n:5:6\ncontainers:x:y\n').result).toBe('ok')
  })
})

describe('storage', () => {
  it('overlayfs may be a module that is not loaded yet', () => {
    expect(check({ ...GOOD, filesystems: 'nodev\tdevpts\n' }, 'overlayfs').result).toBe('ok')
    const none = { ...GOOD, filesystems: 'nodev\tdevpts\n', overlayModule: false }
    expect(check(none, 'overlayfs')).toMatchObject({ result: 'fail', remedy: 'modprobe overlay (CONFIG_OVERLAY_FS)' })
    const nested = { ...none, nesting: { ...GOOD.nesting, inside: 'docker' } }
    expect(check(nested, 'overlayfs').remedy).toContain('on the host')
  })

  it('a store on overlayfs inside a container wants a volume', () => {
    const report = {
      ...withPart('store', {
        filesystem: 'overlay',
        idmapped: { ok: false, failed: 'mount_setattr: EINVAL', errno: 'EINVAL' },
      }),
      nesting: { ...GOOD.nesting, inside: 'podman' },
    }
    expect(misses(report)).toEqual(['writable layer: warn', 'id-mapped mounts: warn'])
    expect(check(report, 'writable layer').remedy).toBe('give the container around tscrun a volume at /var/lib/tscrun')
  })

  it('what was tried counts more than the name of a filesystem', () => {
    expect(check(withPart('store', { filesystem: 'zfs', idmapped: { ok: true } }), 'id-mapped mounts').result).toBe(
      'ok',
    )
    expect(check(withPart('store', { filesystem: 'ext4', idmapped: undefined }), 'id-mapped mounts').detail).toContain(
      'by its name',
    )
  })

  it('little space is told in time', () => {
    expect(check(withPart('store', { freeBytes: 500 * 2 ** 20 }), 'store')).toMatchObject({
      result: 'warn',
      detail: '/var/lib/tscrun on ext4, 500 MiB free',
    })
    expect(check(withPart('store', { freeBytes: 2 ** 20 }), 'store').result).toBe('fail')
    expect(check(withPart('store', { files: { total: 1e6, free: 0 } }), 'store').detail).toContain('no inodes')
    expect(check(withPart('store', { files: { total: 0, free: 0 } }), 'store').result).toBe('ok')
    expect(check(withPart('store', { readonly: true }), 'store').detail).toContain('read-only')
  })
})

describe('cgroups', () => {
  it('of version 1 hold controllers back, each with the boot option that frees it', () => {
    const report = withCgroup({
      mode: 'hybrid',
      mountpoint: '/sys/fs/cgroup/unified',
      controllers: ['hugetlb'],
      v1Controllers: ['memory', 'cpu', 'cpuset', 'io', 'pids'],
    })
    expect(misses(report)).toEqual([
      'cgroups: warn',
      'cgroup memory: warn',
      'cgroup cpu: warn',
      'cgroup cpuset: warn',
      'cgroup io: warn',
      'cgroup pids: warn',
    ])
    expect(check(report, 'cgroup io').remedy).toContain('cgroup_no_v1=blkio')
    expect(check(report, 'cgroup memory').detail).toContain('--memory')
  })

  it('that the kernel was started without are told from those it was built without', () => {
    const report = withCgroup({ controllers: ['cpu', 'io', 'pids', 'cpuset'] })
    expect(check(report, 'cgroup memory').remedy).toContain('cgroup_enable=memory')
    expect(check(report, 'cgroup hugetlb').remedy).toBe('use a kernel with CONFIG_CGROUP_HUGETLB=y')
    const nested = { ...report, nesting: { ...GOOD.nesting, inside: 'docker' } }
    expect(check(nested, 'cgroup memory').remedy).toContain('--cgroupns=private')
  })

  it('that are read-only, as in an unprivileged container, limit nothing', () => {
    const report = { ...withCgroup({ readonly: true }), nesting: { ...GOOD.nesting, inside: 'docker' } }
    expect(check(report, 'cgroups')).toMatchObject({
      result: 'warn',
      detail: '/sys/fs/cgroup is read-only: containers have no limits',
    })
    expect(check(report, 'cgroup pids').result).toBe('warn')
  })

  it('without version 2 have no device filter', () => {
    expect(check(withCgroup({ mode: 'v1', v1Controllers: ['memory'], readonly: true }), 'device filter').result).toBe(
      'warn',
    )
    expect(check({ ...GOOD, deviceFilter: 'EPERM' }, 'device filter').remedy).toContain('--cap-add BPF')
    expect(check({ ...GOOD, deviceFilter: 'EINVAL' }, 'device filter').remedy).toContain('CONFIG_CGROUP_BPF')
  })
})

describe('inside of a container', () => {
  it('privileged, everything works', () => {
    expect(misses(withPart('nesting', { inside: 'docker' }))).toEqual([])
  })

  it('unprivileged, what is masked in /proc is named', () => {
    const mountinfo = [
      '70 60 0:50 / /proc rw,nosuid - proc proc rw',
      '71 70 0:50 /bus /proc/bus ro,nosuid - proc proc rw',
      '72 70 0:51 / /proc/kcore rw - tmpfs tmpfs rw',
      '73 70 0:52 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw',
    ].join('\n')
    expect(procMasks(mountinfo)).toEqual(['/proc/bus', '/proc/kcore'])
    const report = withPart('nesting', { inside: 'docker', procMasks: procMasks(mountinfo) })
    expect(check(report, 'nesting')).toMatchObject({ result: 'fail' })
    expect(check(report, 'nesting').detail).toContain('/proc/bus, /proc/kcore')
  })

  it('root without CAP_SYS_ADMIN cannot run containers', () => {
    expect(check({ ...GOOD, capabilities: 0xa80425fbn }, 'privileges').remedy).toContain('--privileged')
  })
})

describe('surroundings', () => {
  it('say where -it would be refused', () => {
    expect(check({ ...GOOD, terminal: { input: false, output: true } }, 'terminal').detail).toContain(
      'standard input is none',
    )
    expect(check({ ...GOOD, terminal: { input: true, output: false } }, 'terminal').detail).toContain(
      'standard output is none',
    )
  })

  it('name a variable that points to certificates which are not there', () => {
    const dangling = [{ variable: 'NODE_EXTRA_CA_CERTS', path: '/gone.pem' }]
    expect(check(withPart('certificates', { dangling }), 'certificates')).toMatchObject({
      result: 'warn',
      detail: 'NODE_EXTRA_CA_CERTS names /gone.pem, which is not there',
    })
  })

  it('say how to get the programs of later networks, without calling them missing', () => {
    const report = { ...GOOD, programs: { nft: undefined, pasta: undefined } }
    expect(misses(report)).toEqual([])
    expect(check(report, 'nft').remedy).toBe('apt-get install nftables')
    expect(check(report, 'pasta').remedy).toBe('apt-get install passt')
  })
})
