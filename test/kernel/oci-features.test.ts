import { mkdirSync, readFileSync, readlinkSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OciMount, OciSeccomp } from '../../src/model/config.ts'
import type { OciFeatures } from '../../src/spec/features.ts'
import { type Bundles, type Change, leftOf, makeBundles } from './fixtures/bundles.ts'

let bundles: Bundles
let features: OciFeatures
beforeAll(() => {
  bundles = makeBundles()
  features = JSON.parse(bundles.runtime(['features']).stdout) as OciFeatures
})
afterAll(() => bundles.dispose())

/** What the script says, as lines. */
function linesOf(script: string, change: Change): string[] {
  const { code, stdout, stderr } = bundles.run(script, change)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trimEnd().split('\n')
}

/** What an option leaves to be seen in mountinfo: options of the mount, optional fields, options of the filesystem. */
const SHOWN: Readonly<Record<string, string>> = {
  ro: 'ro,relatime - rw',
  nosuid: 'rw,nosuid,relatime - rw',
  nodev: 'rw,nodev,relatime - rw',
  noexec: 'rw,noexec,relatime - rw',
  nodiratime: 'rw,nodiratime,relatime - rw',
  nosymfollow: 'rw,relatime,nosymfollow - rw',
  noatime: 'rw,noatime - rw',
  strictatime: 'rw - rw',
  shared: 'rw,relatime shared - rw',
  unbindable: 'rw,relatime unbindable - rw',
  sync: 'rw,relatime - rw,sync',
  dirsync: 'rw,relatime - rw,dirsync',
  mand: 'rw,relatime - rw,mand',
  lazytime: 'rw,relatime - rw,lazytime',
}
const PLAIN = 'rw,relatime - rw'
/** What these take back; the filesystem's own are none of the kernel's to take back. */
const OPPOSITE: Readonly<Record<string, string>> = {
  rw: 'ro',
  suid: 'nosuid',
  dev: 'nodev',
  exec: 'noexec',
  diratime: 'nodiratime',
  symfollow: 'nosymfollow',
  atime: 'noatime',
  relatime: 'noatime',
  nostrictatime: 'strictatime',
  private: 'shared',
}
/** Not options of a mount but ways to make one, with what they need. */
const MAKING = ['bind', 'rbind', 'idmap', 'ridmap', 'remount']

describe('what features names', () => {
  it('of mount options each does what it says', () => {
    const plain = (option: string): string =>
      features.mountOptions.includes(option.slice(1)) && option.startsWith('r') ? option.slice(1) : option
    const options = features.mountOptions.filter((option) => !MAKING.includes(option))
    const opposite = (option: string): string[] => [OPPOSITE[plain(option)] ?? []].flat()
    const mounts = options.map((option): OciMount => {
      return { destination: `/mnt/${option}`, type: 'tmpfs', source: 'tmpfs', options: [...opposite(option), option] }
    })
    const seen = linesOf('grep " /mnt/" /proc/self/mountinfo', { mounts }).map((line) => {
      const [, , , , path = '', ...rest] = line.replace(/(shared|master):\d+/, '$1').split(' ')
      return [path.replace('/mnt/', ''), rest.join(' ').replace(' tmpfs tmpfs', '')]
    })
    expect(Object.fromEntries(seen)).toEqual(
      Object.fromEntries(options.map((option) => [option, SHOWN[plain(option)] ?? PLAIN])),
    )
    expect(options.length + MAKING.length).toBe(features.mountOptions.length)
    expect(Object.keys({ ...SHOWN, ...OPPOSITE }).filter((option) => !options.includes(option))).toEqual([])
  })

  it('of ways to mount each has its mount', () => {
    const source = join(bundles.directory, 'source')
    mkdirSync(source)
    const ids = [{ containerID: 0, hostID: 77_000, size: 10 }]
    const bound = { type: 'bind', source, uidMappings: ids, gidMappings: ids }
    const mounts: OciMount[] = [
      { destination: '/mnt/bind', type: 'bind', source, options: ['bind'] },
      { destination: '/mnt/rbind', type: 'bind', source, options: ['rbind'] },
      { destination: '/mnt/idmap', ...bound, options: ['bind', 'idmap'] },
      { destination: '/mnt/ridmap', ...bound, options: ['rbind', 'ridmap'] },
      { destination: '/mnt/bind', options: ['remount', 'ro'] },
    ]
    const script =
      'for n in bind rbind idmap ridmap; do stat -c "%n %u" /mnt/$n; done; grep -c " /mnt/bind ro" /proc/self/mountinfo'
    const inodes = linesOf(script, { mounts })
    expect(inodes).toEqual(['/mnt/bind 0', '/mnt/rbind 0', '/mnt/idmap 77000', '/mnt/ridmap 77000', '1'])
  })

  it('of namespaces each is one of its own', () => {
    const files = { network: 'net', mount: 'mnt' } as Readonly<Record<string, string>>
    const names = features.linux.namespaces.map((type) => files[type] ?? type)
    const ids = [{ containerID: 0, hostID: 400_000, size: 65_536 }]
    const script = names.map((name) => `readlink /proc/self/ns/${name}`).join('; ')
    const linux = {
      namespaces: features.linux.namespaces.map((type) => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
    }
    const inside = linesOf(script, { linux, mounts: [] })
    const outside = names.map((name) => readlinkSync(`/proc/self/ns/${name}`))
    expect(inside.map((link) => link.split(':')[0])).toEqual(names)
    expect(inside.filter((link) => outside.includes(link))).toEqual([])
    expect(names.toSorted()).toEqual(['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts'])
  })

  it('of capabilities a process can have every one that this kernel and its caller have', () => {
    const own = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
    const all = features.linux.capabilities
    const mine = all.filter((_, bit) => (BigInt(`0x${own}`) >> BigInt(bit)) & 1n)
    const capabilities = { bounding: mine, permitted: mine, effective: mine, inheritable: mine, ambient: mine }
    const masks = linesOf('grep ^Cap /proc/self/status | cut -f2', { process: { capabilities } })
    expect(masks).toEqual([own, own, own, own, own])
  })

  const filter = (seccomp: Partial<OciSeccomp>): Change => ({
    linux: { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', ...seccomp } },
  })
  it('of seccomp actions each does what it says to a call', () => {
    const did = (action: string): string => {
      const rule = { names: ['mkdir', 'mkdirat'], action } as NonNullable<OciSeccomp['syscalls']>[number]
      const script = 'mkdir /tmp/made 2>/tmp/said; echo $? $(cat /tmp/said); rmdir /tmp/made 2>/dev/null; true'
      return linesOf(script, filter({ syscalls: [rule] })).join(' ')
    }
    const refused = (error: string): string => `1 mkdir: can't create directory '/tmp/made': ${error}`
    // 128 + 31 is SIGSYS. SCMP_ACT_NOTIFY has a test of its own.
    const killed = '159 Bad system call'
    const tested = features.linux.seccomp.actions.filter((action) => action !== 'SCMP_ACT_NOTIFY')
    expect(Object.fromEntries(tested.map((action) => [action, did(action)]))).toEqual({
      SCMP_ACT_ALLOW: '0',
      SCMP_ACT_LOG: '0',
      SCMP_ACT_ERRNO: refused('Operation not permitted'),
      // Nobody traces it.
      SCMP_ACT_TRACE: refused('Function not implemented'),
      SCMP_ACT_TRAP: killed,
      SCMP_ACT_KILL: killed,
      SCMP_ACT_KILL_THREAD: killed,
      SCMP_ACT_KILL_PROCESS: killed,
    })
  })

  it('of seccomp flags every one that this kernel is said to have is taken by it', () => {
    const { supportedFlags } = features.linux.seccomp
    for (const flag of supportedFlags) {
      // The flag that says who may wake a waiting caller is for those with a listener alone (seccomp(2)).
      if (flag === 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV') continue
      const change = filter({ flags: [flag] as OciSeccomp['flags'] & string[] })
      expect([flag, ...linesOf('grep Seccomp: /proc/self/status', change)]).toEqual([flag, 'Seccomp:\t2'])
    }
    expect(supportedFlags).toContain('SECCOMP_FILTER_FLAG_TSYNC')
  })

  it('of memory policies each is the one of the process', () => {
    const shown = {
      MPOL_DEFAULT: 'default',
      MPOL_LOCAL: 'local',
      MPOL_PREFERRED: 'prefer:0',
      MPOL_BIND: 'bind:0',
      MPOL_INTERLEAVE: 'interleave:0',
      MPOL_PREFERRED_MANY: 'prefer (many):0',
      MPOL_WEIGHTED_INTERLEAVE: 'weighted interleave:0',
    } as const
    const policy = (mode: keyof typeof shown) => ({ mode, ...(shown[mode].endsWith(':0') ? { nodes: '0' } : {}) })
    const [major = 0, minor = 0] = release().split('.').map(Number)
    const isNew = (mode: string): boolean => mode === 'MPOL_WEIGHTED_INTERLEAVE' && major * 100 + minor < 609
    const known = Object.fromEntries(Object.entries(shown).filter(([mode]) => !isNew(mode)))
    const seen = Object.keys(known).map((mode) => {
      const linux = { memoryPolicy: policy(mode as keyof typeof shown) }
      const [line = ''] = linesOf('head -1 /proc/self/numa_maps', { linux })
      return [mode, /^\w+ (\w+(?: \(?\w+\)?)?(?::\d+)?) /.exec(line)?.[1]?.replace(/ (?:file|anon|heap|stack)$/, '')]
    })
    expect(Object.fromEntries(seen)).toEqual(known)
    expect(Object.keys(shown).toSorted()).toEqual(features.linux.memoryPolicy.modes.toSorted())
  })

  it('leaves nothing behind', () => expect(leftOf(bundles)).toEqual([]))
})
