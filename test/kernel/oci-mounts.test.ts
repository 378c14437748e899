import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OciConfig, OciMount } from '../../src/model/config.ts'
import { type Bundles, DEFAULT_MOUNTS, leftOf, makeBundles, RUNTIME } from './fixtures/bundles.ts'

let bundles: Bundles
let source: string
beforeAll(() => {
  bundles = makeBundles()
  source = join(bundles.directory, 'source')
  mkdirSync(join(source, 'sub'), { recursive: true })
  writeFileSync(join(source, 'file'), 'of the host\n')
})
afterAll(() => bundles.dispose())

const bind = (destination: string, options: readonly string[], from = source): OciMount => ({
  destination,
  type: 'bind',
  source: from,
  options,
})
/** Lines of the container's mountinfo for a mount point: options and optional fields. */
function optionsOf(mounts: readonly OciMount[], destination: string): string {
  const { stdout, stderr } = bundles.run('cat /proc/self/mountinfo', { mounts })
  expect(stderr).toBe('')
  const line = stdout.split('\n').find((text) => text.split(' ')[4] === destination)
  return line?.split(' ').slice(5).join(' ').split(' - ')[0]?.trim() ?? 'not mounted'
}

describe("a caller's mounts", () => {
  it.each([
    [['bind', 'ro'], 'ro,relatime'],
    [['bind', 'noatime', 'nosuid', 'nodev', 'noexec'], 'rw,nosuid,nodev,noexec,noatime'],
    [['bind', 'strictatime', 'nodiratime', 'nosymfollow'], 'rw,nodiratime,nosymfollow'],
    [['bind', 'noatime', 'relatime'], 'rw,relatime'],
    [['bind', 'ro', 'rw'], 'rw,relatime'],
    [['bind', 'unbindable'], 'rw,relatime unbindable'],
    [['bind', 'private', 'mode=755', 'sync'], 'rw,relatime'],
  ] as const)('with %j are as mount(8) says', (options, shown) => {
    expect(optionsOf([bind('/mnt/here', options)], '/mnt/here')).toBe(shown)
  })

  it('are listed by the kernel in the order of config.json, whatever they are', () => {
    const mounts: OciMount[] = [
      bind('/mnt/a', ['bind', 'shared']),
      { destination: '/mnt/b', type: 'tmpfs', source: 'tmpfs' },
      bind('/mnt/c', ['rbind', 'rslave']),
      bind('/mnt/d', ['rbind'], join(source, 'file')),
      bind('/mnt/e', ['bind', 'shared'], join(source, 'file')),
    ]
    const { stdout } = bundles.run("cut -d' ' -f5 /proc/self/mountinfo", { mounts })
    const wanted = [...DEFAULT_MOUNTS, ...mounts].map(({ destination }) => destination)
    expect(
      stdout
        .split('\n')
        .filter((path) => wanted.includes(path))
        .slice(0, wanted.length),
    ).toEqual(wanted)
  })

  it('make only what begins with r recursive', () => {
    const script = 'for n in a b c; do grep " /mnt/$n/sub " /proc/self/mountinfo | cut -d" " -f6; done'
    const binds = [
      ['rbind', 'ro'],
      ['rbind', 'rro'],
      ['rbind', 'rnoexec', 'rro', 'rw'],
    ]
    const mounts = binds.map((options, index) => bind(`/mnt/${'abc'[index]}`, options))
    const config = join(bundles.bundle(script, { mounts }), 'config.json')
    const inside = `mount -t tmpfs tmpfs ${source}/sub && ${RUNTIME} --root ${bundles.directory}/run run -b ${join(config, '..')} rec </dev/null`
    expect(execFileSync('unshare', ['-m', 'sh', '-c', inside], { encoding: 'utf8' })).toBe(
      'rw,relatime\nro,relatime\nro,noexec,relatime\n',
    )
  })

  it('of type tmpfs have the mode of what they cover, its content if asked, and are read-only when all is in them', () => {
    const mounts: OciMount[] = [
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] },
      { destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['ro', 'tmpcopyup', 'size=1m'] },
      bind('/etc/inner', ['bind', 'ro']),
    ]
    const script =
      'stat -c "%a %u" /tmp /etc /etc/owned-by-alice; cat /etc/inner/file /etc/owned-by-alice; touch /etc/x'
    const { stdout, stderr } = bundles.run(script, { mounts })
    expect(stdout).toBe('1777 0\n755 0\n644 1000\nof the host\nalice\n')
    expect(stderr).toContain('Read-only file system')
    expect(readdirSync(join(bundles.rootfs, 'etc'))).toContain('passwd')
  })

  it('take options of any length, where an overlay has many layers', () => {
    const lowers = ['a', 'b', 'c'].map((letter) => join(bundles.directory, letter.repeat(100)))
    for (const [index, lower] of lowers.entries()) {
      mkdirSync(lower)
      writeFileSync(join(lower, `of${index}`), '')
    }
    const options = [`lowerdir=${lowers.join(':')}`]
    const { stdout, stderr } = bundles.run('ls /mnt/o', {
      mounts: [{ destination: '/mnt/o', type: 'overlay', source: 'overlay', options }],
    })
    expect({ stdout, stderr }).toEqual({ stdout: 'of0\nof1\nof2\n', stderr: '' })
  })

  it('are shifted by an id mapping of their own, without a user namespace', () => {
    const ids = [{ containerID: 0, hostID: 70_000, size: 10 }]
    const mount = { ...bind('/mnt/i', ['rbind', 'idmap']), uidMappings: ids, gidMappings: ids }
    expect(bundles.run('stat -c "%u %g" /mnt/i/file', { mounts: [mount] }).stdout).toBe('70000 70000\n')
  })

  it('can be changed later in the list, and an option that only a mount can have is refused then', () => {
    const again = (options: string[]): OciMount => ({ destination: '/sys', options: ['remount', ...options] })
    expect(optionsOf([again(['rw', 'noexec'])], '/sys')).toMatch(/^rw,/)
    const { code, stderr } = bundles.create('true', { mounts: [again(['size=1'])] })
    expect(code).toBe(1)
    expect(stderr).toContain('config.json: mounts[4].options: "size" cannot be changed by remount')
  })

  it('with an option that their filesystem does not have name it', () => {
    const mount = { destination: '/mnt/o', type: 'tmpfs', source: 'tmpfs', options: ['bogus=1'] }
    const { code, stderr } = bundles.create('true', { mounts: [mount] })
    expect(code).toBe(1)
    expect(stderr).toMatch(/mount tmpfs on \/mnt\/o: .*\(EINVAL\) \(is bogus an option of tmpfs\?\)/)
  })

  it('go where a link leads inside of the root, and make what is missing', () => {
    symlinkSync('/../../../etc', join(bundles.rootfs, 'upwards'))
    const mounts = [bind('/upwards/deep/er', ['bind'])]
    expect(bundles.run('cat /etc/deep/er/file', { mounts }).stdout).toBe('of the host\n')
    expect(readdirSync('/etc')).not.toContain('deep')
  })

  it('leave nothing behind', () => expect(leftOf(bundles)).toEqual([]))
})

describe('on a host whose mounts are shared, as systemd makes them', () => {
  /** Runs in a mount namespace of its own: `$SRC` is a mount, `$RUN` is the runtime with its root. */
  const onShared = (script: string): string => {
    const env = { ...process.env, RUN: `${RUNTIME} --root ${bundles.directory}/shared`, SRC: source }
    const prepare = 'mount --make-rshared / && mount --bind $SRC $SRC && mount --make-shared $SRC &&'
    return execFileSync('unshare', ['-m', 'sh', '-ec', `${prepare} ${script}`], { encoding: 'utf8', env })
  }
  const runIt = (change: Parameters<Bundles['bundle']>[1], script: string): string =>
    `$RUN run -b ${bundles.bundle(script, change)} shared </dev/null`
  const makeMount = 'mount -t tmpfs tmpfs /mnt/s/sub && touch /mnt/s/sub/from-inside'

  it("no mount of a container without a user namespace reaches the host, nor covers the host's /dev", () => {
    const before = 'cat /proc/self/mountinfo | cut -d" " -f5- | sort > $SRC/before;'
    const after = 'cat /proc/self/mountinfo | cut -d" " -f5- | sort | diff $SRC/before - && ls -d /dev/null'
    expect(onShared(`${before} ${runIt({}, 'echo inside')}; ${after}`)).toBe('inside\n/dev/null\n')
  })

  it.each([
    [['rbind', 'rshared'], 'seen'],
    [['rbind', 'rslave'], 'unseen'],
    [['rbind', 'rprivate'], 'unseen'],
    [['rbind'], 'unseen'],
  ] as const)('what is mounted inside of a bind with %j is %s outside', (options, expected) => {
    const change = { mounts: [bind('/mnt/s', options)] }
    const look = `[ -e $SRC/sub/from-inside ] && echo seen || echo unseen`
    expect(onShared(`${runIt(change, makeMount)}; ${look}`)).toBe(`${expected}\n`)
  })

  it.each([
    ['rslave', 'seen'],
    ['rprivate', 'unseen'],
  ])('what the host mounts later is %s through a bind with %s', (option, expected) => {
    const change = { mounts: [bind('/mnt/s', ['rbind', option])] }
    const bundle = bundles.bundle('[ -e /mnt/s/sub/later ] && echo seen || echo unseen', change)
    const steps = [
      `$RUN create -b ${bundle} later </dev/null >$SRC/out`,
      'mount -t tmpfs tmpfs $SRC/sub && touch $SRC/sub/later',
      '$RUN start later',
      'while ! $RUN state later | grep -q stopped; do :; done',
      '$RUN delete later; cat $SRC/out',
    ]
    expect(onShared(steps.join('\n'))).toBe(`${expected}\n`)
  })

  it.each(['shared', 'slave', 'private', 'unbindable', 'rshared', 'runbindable'])(
    'a root that is %s is that in the container, and cut off from the host',
    (rootfsPropagation) => {
      const script = 'grep " / / \\| / " /proc/self/mountinfo | head -1; mkdir -p /mnt/x; mount -t tmpfs tmpfs /mnt/x'
      const change = { linux: { rootfsPropagation } }
      const out = onShared(`${runIt(change, script)}; grep -c ${bundles.rootfs}/mnt /proc/self/mountinfo || true`)
      const plain = rootfsPropagation.replace(/^r/, '')
      expect(/ shared:\d+/.test(out)).toBe(plain === 'shared')
      expect(out.includes(' unbindable ')).toBe(plain === 'unbindable')
      // Both get what the host mounts below.
      expect(/ master:\d+/.test(out)).toBe(plain === 'slave' || plain === 'shared')
      expect(out.trimEnd().split('\n').at(-1)).toBe('0')
    },
  )

  it('without a mount namespace of its own its mounts are gone with it, and those of the caller stay', () => {
    const namespaces = [{ type: 'pid' }, { type: 'uts' }] as const
    const script = 'echo inside; ls /proc | grep -c "^1$"'
    const change = { linux: { namespaces } }
    const mine = `mkdir $SRC/empty && mount -t overlay -o lowerdir=${bundles.rootfs}:$SRC/empty overlay ${bundles.rootfs}`
    const count = `grep -c " ${bundles.rootfs}" /proc/self/mountinfo`
    expect(onShared(`${mine}; ${runIt(change, script)}; ${count}; ls -d /etc/debian_version`)).toBe(
      'inside\n1\n1\n/etc/debian_version\n',
    )
  })
})

describe('/dev', () => {
  const without = (...gone: string[]) => ({
    edit: (config: OciConfig): OciConfig => ({
      ...config,
      mounts: config.mounts?.filter(({ destination }) => !gone.includes(destination)) ?? [],
    }),
  })

  it('of the root filesystem gets devices and links where nothing is mounted there, and paths are masked all the same', () => {
    const script =
      'echo x > /dev/null; stat -c %F /dev/null /dev/tty; readlink /dev/ptmx; readlink /dev/fd; wc -c < /proc/keys; ls /sys/firmware'
    const { stdout, stderr } = bundles.run(script, without('/dev', '/dev/pts'))
    const device = 'character special file'
    expect({ stdout, stderr }).toEqual({ stdout: `${device}\n${device}\npts/ptmx\n/proc/self/fd\n0\n`, stderr: '' })
  })

  it('that is bound from the host is left as it is', () => {
    const dev = join(bundles.directory, 'dev')
    mkdirSync(dev)
    const edit = (config: OciConfig): OciConfig => {
      const { mounts = [], ...rest } = without('/dev', '/dev/pts').edit(config)
      return { ...rest, mounts: [...mounts, bind('/dev', ['rbind'], dev)] }
    }
    expect(bundles.run('ls /dev', { edit }).stdout).toBe('')
    expect(readdirSync(dev)).toEqual([])
  })

  it('has what the list names, also twice, with the type in its mode, or elsewhere', () => {
    const devices = [
      { type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o020600 },
      { type: 'c', path: '/dev/zero', major: 1, minor: 5 },
      { type: 'c', path: '/dev/zero', major: 1, minor: 5 },
      { type: 'c', path: '/dev/ptmx', major: 5, minor: 2 },
      { type: 'p', path: '/dev/sub/fifo', fileMode: 0o640, uid: 3, gid: 4 },
      { type: 'c', path: '/opt/full', major: 1, minor: 7 },
    ] as const
    const script = 'stat -c "%a %u %g %F" /dev/null /dev/sub/fifo /opt/full; readlink /dev/ptmx'
    const { stdout, stderr } = bundles.run(script, { linux: { devices } })
    const device = 'character special file'
    expect({ stdout, stderr }).toEqual({
      stdout: `600 0 0 ${device}\n640 3 4 fifo\n666 0 0 ${device}\npts/ptmx\n`,
      stderr: '',
    })
  })

  it('refuses to take something else for a device', () => {
    const devices = [{ type: 'c', path: '/etc/passwd', major: 1, minor: 3 }] as const
    const { code, stderr } = bundles.create('true', { linux: { devices } })
    expect(code).toBe(1)
    expect(stderr).toMatch(/make the device \/etc\/passwd: it exists already \(EEXIST\)/)
    expect(readFileSync(join(bundles.rootfs, 'etc/passwd'), 'utf8')).toContain('root:')
  })
})
