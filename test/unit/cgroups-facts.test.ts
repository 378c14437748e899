import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseCgroupFacts, readCgroupFacts } from '../../src/cgroups/facts.ts'

const ALL = 'cpuset cpu io memory hugetlb pids rdma misc\n'
const NAMES = ALL.trim().split(' ')
const V2 = (root = '/', mountpoint = '/sys/fs/cgroup', options = 'rw,nosuid') =>
  `35 24 0:30 ${root} ${mountpoint} ${options} shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n`
const ROOTFS = '24 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n25 24 0:5 / /proc rw - proc proc rw\n'
const NO_V1 = '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t100\t1\nmemory\t0\t100\t1\n'

function facts(mountinfo: string, cgroup = '0::/\n', cgroups = NO_V1, controllers = ALL) {
  return parseCgroupFacts({ mountinfo: ROOTFS + mountinfo, cgroup, cgroups, controllers: () => controllers })
}

describe('cgroup facts', () => {
  it('of a host with cgroup v2 only', () => {
    expect(facts(V2(), '0::/user.slice/user-0.slice/session-1.scope\n')).toEqual({
      mode: 'unified',
      mountpoint: '/sys/fs/cgroup',
      readonly: false,
      own: '/user.slice/user-0.slice/session-1.scope',
      controllers: NAMES,
      v1Controllers: [],
    })
  })

  it('of a hybrid host name the controllers that cgroup v1 holds', () => {
    const mountinfo = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct
33 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
34 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup systemd rw,xattr,release_agent=/lib/x,name=systemd
${V2('/', '/sys/fs/cgroup/unified').replace('35 24', '35 31')}`
    const cgroups =
      '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\ncpuacct\t1\t1\t1\nblkio\t7\t1\t1\nhugetlb\t0\t5\t1\nfreezer\t6\t1\t1\n'
    expect(facts(mountinfo, '7:blkio:/x\n1:cpu,cpuacct:/x\n0::/\n', cgroups, 'hugetlb\n')).toEqual({
      mode: 'hybrid',
      mountpoint: '/sys/fs/cgroup/unified',
      readonly: false,
      own: '/',
      controllers: ['hugetlb'],
      v1Controllers: ['cpu', 'cpuacct', 'io', 'freezer'],
    })
  })

  it('know of a mount that any later one hides, whatever their order in the file is', () => {
    const sysfs = '26 24 0:22 / /sys rw - sysfs sysfs rw\n'
    const below = V2().replace('35 24', '35 26')
    expect(facts(sysfs + below).mode).toBe('unified')
    const over = '50 26 0:23 / /sys rw - sysfs sysfs rw\n'
    expect(facts(sysfs + below + over).mode).toBe('none')
    // Mounted again on the one that hides.
    expect(facts(`${sysfs}${below}${over}${below.replace('35 26', '51 50')}`).mode).toBe('unified')
    // By age of the mounts: the root of a container may be younger than what was made to be put into it.
    expect(facts(below + sysfs).mode).toBe('unified')
    expect(facts(over + below + sysfs).mode).toBe('none')
  })

  it('of a host with cgroup v1 only, and with none', () => {
    const v1 = '32 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n'
    expect(facts(v1, '4:memory:/\n', '')).toEqual({
      mode: 'v1',
      readonly: false,
      own: '/',
      controllers: [],
      v1Controllers: ['memory'],
    })
    expect(facts('', '', '')).toEqual({ mode: 'none', readonly: false, own: '/', controllers: [], v1Controllers: [] })
    // v1 mounted elsewhere, as in a container that sees neither.
    expect(facts('', '0::/\n', 'memory\t4\t2\t1\n').mode).toBe('v1')
  })

  it('of a container with a cgroup namespace of its own, read-only or not', () => {
    expect(facts(V2('/', '/sys/fs/cgroup', 'ro,nosuid'))).toMatchObject({ readonly: true, own: '/' })
    expect(facts(V2('/', '/sys/fs/cgroup', 'rw'), '0::/init\n')).toMatchObject({ readonly: false, own: '/init' })
    expect(facts('35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup ro\n').readonly).toBe(true)
  })

  it("of a container that sees its part of the host's tree", () => {
    expect(facts(V2('/docker/abc'), '0::/docker/abc\n').own).toBe('/')
    expect(facts(V2('/docker/abc'), '0::/docker/abc/x/y\n').own).toBe('/x/y')
    // Not below: a sibling with a longer name.
    expect(facts(V2('/docker/abc'), '0::/docker/abcdef\n').own).toBe('/')
  })

  it('across cgroup namespaces, where paths begin above their root', () => {
    expect(facts(V2('/..'), '0::/../sibling\n').own).toBe('/sibling')
    expect(facts(V2('/../..'), '0::/../../a/b\n').own).toBe('/a/b')
    expect(facts(V2('/../x'), '0::/../x/y\n').own).toBe('/y')
    // How the levels between are called cannot be seen: the mount's root stands in.
    expect(facts(V2('/../..'), '0::/\n').own).toBe('/')
    expect(facts(V2('/'), '0::/../sibling\n').own).toBe('/')
  })

  it('undo the octal escapes of mountinfo', () => {
    expect(facts(V2('/', '/mnt/a\\040b\\011c\\134d\\012e')).mountpoint).toBe('/mnt/a b\tc\\d\ne')
    expect(facts(V2('/x\\040y'), '0::/x y/z\n').own).toBe('/z')
    expect(facts(V2('/', '/mnt/ü\\040')).mountpoint).toBe('/mnt/ü ')
  })

  it('take the mount that is nearest, writable and on top', () => {
    expect(facts(V2('/other', '/a') + V2('/', '/b') + V2('/mine', '/c'), '0::/mine/x\n')).toMatchObject({
      mountpoint: '/c',
      own: '/x',
    })
    expect(facts(V2('/', '/a', 'ro') + V2('/', '/b'))).toMatchObject({ mountpoint: '/b', readonly: false })
    expect(facts(V2('/', '/a', 'ro') + V2('/', '/a', 'rw'))).toMatchObject({ mountpoint: '/a', readonly: false })
  })

  it('pass over a mount that a later one above it hides', () => {
    expect(facts(V2('/', '/sys/fs/cgroup/unified') + V2('/', '/sys/fs/cgroup')).mountpoint).toBe('/sys/fs/cgroup')
    expect(facts(V2('/', '/a', 'ro') + V2('/', '/ab')).mountpoint).toBe('/ab')
    expect(facts(V2('/', '/sys/fs/cgroup') + V2('/', '/sys/fs/cgroup/unified', 'ro')).mountpoint).toBe('/sys/fs/cgroup')
  })

  it('survive a removed cgroup, optional fields and lines that are no mounts', () => {
    expect(facts(V2(), '0::/gone (deleted)\n').own).toBe('/gone')
    expect(
      facts(`broken\n\n36 24 0:30 / /sys/fs/cgroup rw shared:1 master:2 propagate_from:3 - cgroup2 none rw\n`).mode,
    ).toBe('unified')
  })

  it('of this machine are those the files show', () => {
    const found = readCgroupFacts((path) => readFileSync(path, 'utf8'))
    const types = new Set(
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map((line) => / - (\S+)/.exec(line)?.[1]),
    )
    expect(found.mode === 'unified' || found.mode === 'hybrid').toBe(types.has('cgroup2'))
    if (found.mountpoint !== undefined) {
      expect(found.controllers.join(' ')).toBe(readFileSync(`${found.mountpoint}/cgroup.controllers`, 'utf8').trim())
    }
    expect(found.controllers.filter((name) => found.v1Controllers.includes(name))).toEqual([])
  })

  it('need no /proc/cgroups, but pass other failures on', () => {
    const read = (errno: string) => (path: string) => {
      if (path === '/proc/cgroups') throw Object.assign(new Error(errno), { code: errno })
      return ''
    }
    expect(readCgroupFacts(read('ENOENT')).mode).toBe('none')
    expect(() => readCgroupFacts(read('EACCES'))).toThrow('EACCES')
  })
})
