import { execFileSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
let volume = ''
let count = 0
beforeEach(() => {
  volume = join(machine.directory, `volume${count++}`)
  mkdirSync(volume)
})
afterEach(() => expectNothingLeft(machine))

const ownerOf = (path: string): string => {
  const { uid, gid } = statSync(path)
  return `${uid}:${gid}`
}

describe('a volume', () => {
  it('is the directory of the host, both ways', async () => {
    writeFileSync(join(volume, 'from-host'), 'host\n')
    expect(await machine.sh('cat /v/from-host; echo container > /v/from-container', ['-v', `${volume}:/v`])).toBe(
      'host',
    )
    expect(readFileSync(join(volume, 'from-container'), 'utf8')).toBe('container\n')
  })

  it('keeps owners right although ids are shifted: root is root, 1000 is 1000, on both sides', async () => {
    writeFileSync(join(volume, 'of-1000'), '')
    chownSync(join(volume, 'of-1000'), 1000, 1001)
    const flags = ['-v', `${volume}:/v`]
    expect(
      await machine.sh('stat -c "%u:%g" /v /v/of-1000; touch /v/of-root; touch /v/to-33; chown 33:34 /v/to-33', flags),
    ).toBe('0:0\n1000:1001')
    chownSync(volume, 1000, 1000)
    await machine.sh('touch /v/of-alice', [...flags, '--user', 'alice'])
    expect(['of-root', 'to-33', 'of-alice'].map((name) => ownerOf(join(volume, name)))).toEqual([
      '0:0',
      '33:34',
      '1000:1000',
    ])
  })

  it('of another user cannot be written by user 1000', async () => {
    const { exitCode } = await machine.run(['-v', `${volume}:/v`, '--user', '1000'], ['touch', '/v/x'])
    expect([exitCode, existsSync(join(volume, 'x'))]).toEqual([1, false])
  })

  it('is read-only with :ro, and root of the container cannot change that', async () => {
    const { exitCode, stderr } = await machine.run(
      ['-v', `${volume}:/v:ro`, '--cap-add', 'sys_admin'],
      ['sh', '-c', 'mount -o remount,rw /v; touch /v/x'],
    )
    expect(exitCode).toBe(1)
    expect(stderr).toContain('Read-only file system')
    expect(existsSync(join(volume, 'x'))).toBe(false)
  })

  it('can be one file', async () => {
    const file = join(volume, 'file')
    writeFileSync(file, 'one\n')
    expect(await machine.sh('cat /etc/made/here; echo two >> /etc/made/here', ['-v', `${file}:/etc/made/here`])).toBe(
      'one',
    )
    expect(readFileSync(file, 'utf8')).toBe('one\ntwo\n')
  })

  it('is made by -v where it is missing, not by --mount', async () => {
    const missing = join(volume, 'a/b')
    expect(await machine.sh('stat -c %u:%g /v', ['-v', `${missing}:/v`])).toBe('0:0')
    expect(ownerOf(missing)).toBe('0:0')
    const { exitCode, stderr } = await machine.run(['--mount', `type=bind,src=${volume}/c,dst=/v`], ['true'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: volume .*\/c: no such file or directory/)
    expect(existsSync(join(volume, 'c'))).toBe(false)
  })

  it('takes --mount with its options', async () => {
    writeFileSync(join(volume, 'run'), '#!/bin/sh\necho ran\n', { mode: 0o755 })
    const flags = ['--mount', `type=bind,source=${volume},target=/v,readonly`]
    expect(await machine.sh('/v/run; touch /v/x 2>/dev/null || echo ro', flags)).toBe('ran\nro')
    expect((await machine.run(['-v', `${volume}:/v:noexec`], ['/v/run'])).exitCode).toBe(126)
  })

  it('is never nosuid or nodev by accident, and is so on request', async () => {
    const optionsOf = async (options: string): Promise<string[]> =>
      (await machine.sh('grep " /v " /proc/self/mountinfo | cut -d" " -f6', ['-v', `${volume}:/v${options}`])).split(
        ',',
      )
    expect(await optionsOf('')).toContain('rw')
    expect(await optionsOf(':nosuid,nodev')).toEqual(expect.arrayContaining(['nosuid', 'nodev']))
  })

  it('of a link is what the link points at', async () => {
    execFileSync('ln', ['-s', volume, `${volume}-link`])
    writeFileSync(join(volume, 'x'), 'through\n')
    expect(await machine.sh('cat /v/x', ['-v', `${volume}-link:/v`])).toBe('through')
  })

  it('lies over a path of the image, and in another volume', async () => {
    mkdirSync(join(volume, 'inner'))
    writeFileSync(join(volume, 'inner', 'x'), 'inner\n')
    // The deeper one is given first: it must not be hidden.
    const flags = ['-v', `${volume}/inner:/outer/sub`, '-v', `${volume}:/outer`, '-v', `${volume}:/etc`]
    mkdirSync(join(volume, 'sub'))
    expect(await machine.sh('cat /outer/sub/x; ls /etc', flags)).toBe('inner\nhostname\nhosts\ninner\nresolv.conf\nsub')
  })

  it('may hold the store: the mounts of a starting container are not in it', async () => {
    expect(await machine.sh('grep -c " /v/" /proc/self/mountinfo || true', ['-v', `${machine.directory}:/v`])).toBe('0')
  })

  it('includes the mounts below it with rbind, and does not with bind', async () => {
    mkdirSync(join(volume, 'below'))
    execFileSync('mount', ['-t', 'tmpfs', 'tscrun-test', join(volume, 'below')])
    try {
      writeFileSync(join(volume, 'below', 'x'), '')
      expect(await machine.sh('ls /v/below', ['-v', `${volume}:/v`])).toBe('x')
      expect(await machine.sh('ls /v/below', ['-v', `${volume}:/v:bind`])).toBe('')
    } finally {
      execFileSync('umount', [join(volume, 'below')])
    }
  })

  it('shows later mounts of the host with rslave, and none without', async () => {
    execFileSync('mount', ['--bind', volume, volume])
    execFileSync('mount', ['--make-shared', volume])
    mkdirSync(join(volume, 'later'))
    try {
      const flags = ['-v', `${volume}:/slave:rslave`, '-v', `${volume}:/private`]
      const subprocess = machine.run(
        ['-i', ...flags],
        ['sh', '-c', 'echo up; read line; ls /slave/later /private/later'],
        { stdin: 'pipe' },
      )
      await new Promise((resolve) => subprocess.stdout.once('data', resolve))
      execFileSync('mount', ['-t', 'tmpfs', 'tscrun-test', join(volume, 'later')])
      writeFileSync(join(volume, 'later', 'seen'), '')
      subprocess.stdin?.end('\n')
      expect((await subprocess).stdout).toBe('up\n/private/later:\n\n/slave/later:\nseen\n')
    } finally {
      execFileSync('umount', ['-R', volume])
    }
  })
})

describe('--tmpfs', () => {
  it('is memory, with options', async () => {
    const text = await machine.sh(
      'grep " /scratch " /proc/mounts; echo x > /scratch/y && cat /scratch/y; stat -c "%a %u" /scratch',
      ['--tmpfs', '/scratch:size=1m,mode=1777'],
    )
    const [mount = '', content, mode] = text.split('\n')
    expect(mount).toMatch(/^tmpfs \/scratch tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,/)
    expect([content, mode]).toEqual(['x', '1777 0'])
  })

  it('ends at its size', async () => {
    const { exitCode, stderr } = await machine.run(
      ['--tmpfs', '/scratch:size=1m'],
      ['dd', 'if=/dev/zero', 'of=/scratch/x', 'bs=1M', 'count=2'],
    )
    expect(exitCode).toBe(1)
    expect(stderr).toContain('No space left')
  })

  it('can be executable on request', async () => {
    expect(await machine.sh('cp /bin/busybox /scratch/echo && /scratch/echo hi', ['--tmpfs', '/scratch:exec'])).toBe(
      'hi',
    )
  })
})

describe('--read-only', () => {
  it('closes the root, not /dev/shm, tmpfs, volumes', async () => {
    const text = await machine.sh(
      'touch /x 2>/dev/null || echo ro; touch /etc/y 2>/dev/null || echo ro; touch /dev/shm/a /t/b /v/c && echo rest',
      ['--read-only', '--tmpfs', '/t', '-v', `${volume}:/v`],
    )
    expect(text).toBe('ro\nro\nrest')
  })

  it('holds against a remount', async () => {
    const { exitCode } = await machine.run(
      ['--read-only', '--cap-add', 'sys_admin'],
      ['sh', '-c', 'mount -o remount,rw / ; touch /x'],
    )
    expect(exitCode).not.toBe(0)
  })
})

describe('limits that need no cgroup', () => {
  it('--shm-size', async () => {
    expect(await machine.sh('df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2')).toBe('65536')
    expect(await machine.sh('df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2', ['--shm-size', '8m'])).toBe('8192')
  })

  it('--ulimit, soft and hard', async () => {
    expect(
      await machine.sh('ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc', [
        '--ulimit',
        'nofile=100:200',
        '--ulimit',
        'core=0',
      ]),
    ).toBe('100\n200\n0\n0')
  })

  it("the soft limit on open files is 1024, not Node's", async () => {
    expect(await machine.sh('ulimit -Sn')).toBe('1024')
  })

  it('--sysctl of its own namespaces', async () => {
    const flags = [
      '--sysctl',
      'kernel.shmmax=12345678',
      '--sysctl',
      'net.ipv4.ip_forward=1',
      '--sysctl',
      'kernel.domainname=dom.example',
    ]
    expect(
      await machine.sh('cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname', flags),
    ).toBe('12345678\n1\ndom.example')
  })

  it('--ulimit: of two for the same the later one counts', async () => {
    const flags = ['--ulimit', 'nofile=100', '--ulimit', 'nofile=200:300']
    expect(await machine.sh('ulimit -n; ulimit -Hn', flags)).toBe('200\n300')
  })

  it('low ports are open to everyone in its own network', async () => {
    expect(await machine.sh('cat /proc/sys/net/ipv4/ip_unprivileged_port_start', ['--user', '1000'])).toBe('0')
  })

  it('--oom-score-adj', async () => {
    expect(await machine.sh('cat /proc/self/oom_score_adj', ['--oom-score-adj', '500'])).toBe('500')
  })
})

describe('a link of the image that dangles, where something is mounted', () => {
  const inEtc = (name: string): string => join(machine.rootfs, 'etc', name)

  it('is followed inside: /etc/resolv.conf of a system whose /run is elsewhere can be read by everybody', async () => {
    rmSync(inEtc('resolv.conf'), { force: true })
    symlinkSync('../run/systemd/resolve/stub.conf', inEtc('resolv.conf'))
    const script = 'cat /etc/resolv.conf /run/systemd/resolve/stub.conf'
    const seen = await machine.sh(script, ['--dns', '192.0.2.1', '--user', '1000'])
    rmSync(inEtc('resolv.conf'))
    expect(seen).toBe('nameserver 192.0.2.1\nnameserver 192.0.2.1')
  })

  it('may lead over others, up and around; one without end is refused', async () => {
    writeFileSync(join(volume, 'file'), 'here')
    const links = { one: 'two/', two: '/absent/../deep/three', three: '../../etc/last', endless0: 'endless1' }
    for (const [name, target] of Object.entries(links)) symlinkSync(target, inEtc(name))
    for (let n = 1; n < 50; n++) symlinkSync(`endless${n + 1}`, inEtc(`endless${n}`))
    const dangling = (name: string): string[] => ['-v', `${join(volume, 'file')}:/etc/${name}`]
    expect(await machine.sh('cat /etc/one/below /deep/three/below', dangling('one/below'))).toBe('herehere')
    expect(await machine.sh('cat /etc/last', dangling('three'))).toBe('here')
    const { exitCode, stderr } = await machine.run(dangling('endless0'), ['true'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: openat2: prepare the mount point \/etc\/endless0: .*ELOOP/)
    for (const name of readdirSync(inEtc('')).filter((each) => /^(one|two|three|endless\d+)$/.test(each)))
      rmSync(inEtc(name))
  })
})

describe('a device', () => {
  it('may be named twice, and beside --privileged, which has it already: the later one counts', async () => {
    const twice = ['--device', '/dev/zero', '--device', '/dev/full:/dev/zero']
    expect(await machine.sh('stat -c %t:%T /dev/zero', twice)).toBe('1:7')
    expect(await machine.sh('stat -c %t:%T /dev/zero', ['--privileged', ...twice])).toBe('1:7')
    const [name = ''] = readdirSync('/dev').filter((each) => /^(tty0|loop-control|fuse)$/.test(each))
    await machine.sh(`test -c /dev/${name}`, ['--privileged', '--device', `/dev/${name}`])
  })

  it('is each one below a directory of the host, with the access asked for', async () => {
    const directory = join(machine.directory, 'devices')
    mkdirSync(join(directory, 'deep'), { recursive: true })
    writeFileSync(join(directory, 'README'), '')
    execFileSync('mknod', [join(directory, 'one'), 'c', '1', '3'])
    execFileSync('mknod', [join(directory, 'deep', 'two'), 'c', '1', '5'])
    expect(await machine.sh('cd /dev/mine; find . -type c | sort', ['--device', `${directory}:/dev/mine`])).toBe(
      './deep/two\n./one',
    )
    const empty = await machine.run(['--device', volume], ['true'])
    expect(empty.exitCode).toBe(125)
    expectOneLine(empty.stderr, new RegExp(`^tscrun: device ${volume}: a directory without devices`))
  })
})

describe('a /dev of the user', () => {
  const LOOK = 'stat -L -c %t:%T /proc/self/fd/0; cat; ls /dev | wc -l'

  it("is the host's, whole, with nothing of ours below it; the input is empty all the same", async () => {
    for (const flag of ['--privileged', '--userns=host']) {
      const [input, mounts] = (
        await machine.sh('stat -L -c %t:%T /proc/self/fd/0; grep -c "^[^-]* /dev/mqueue" /proc/self/mountinfo; cat', [
          flag,
          '-v',
          '/dev:/dev',
        ])
      ).split('\n')
      const host = readFileSync('/proc/self/mountinfo', 'utf8').match(/^[^-]* \/dev\/mqueue/gm) ?? []
      expect([input, mounts]).toEqual(['1:3', String(host.length)])
    }
  })

  it('may be a directory without a device, and a filesystem in memory has ours', async () => {
    expect(await machine.sh(LOOK, ['-v', `${volume}:/dev`])).toBe('1:3\n0')
    const memory = ['--tmpfs', '/dev:size=1m,ro']
    expect(await machine.sh('cat; df -k /dev | tail -1 | tr -s " " | cut -d " " -f 2; test -c /dev/zero', memory)).toBe(
      '1024',
    )
    const { exitCode } = await machine.run(memory, ['touch', '/dev/x'])
    expect(exitCode).toBe(1)
  })
})

describe('what the container writes', () => {
  it('ends with it', async () => {
    expect(await machine.sh('touch /made && echo made')).toBe('made')
    expect(existsSync(join(machine.rootfs, 'made'))).toBe(false)
    expect(await machine.sh('ls /made 2>/dev/null || echo gone')).toBe('gone')
  })

  it('does not keep a container from ending: a process in the background goes with it', async () => {
    const { exitCode, stdout } = await machine.run([], ['sh', '-c', 'sleep 1077 & echo done'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
    await until(() => pidOf('sleep 1077') === undefined)
  })
})
