import {
  chmodSync,
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
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BUSYBOX_CONFIG, busyboxMembers, makeImage, pushImages } from '../clients/fixtures/images.ts'
import { startRegistry } from '../clients/fixtures/registry.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, expectOneLine, useMachine, pidOf, until } from './fixtures/machine.ts'
import { CHANGES, layerOfEverything, showTree } from './fixtures/marked-image.ts'

const machine = useMachine()
/** An image with everything at /data, a volume declared at /declared, and links at /outside and /alias. */
let image = ''
beforeAll(async () => {
  const { rootfs } = machine
  mkdirSync(join(rootfs, 'data/sub'), { recursive: true })
  writeFileSync(join(rootfs, 'data/file'), 'of the image\n')
  chownSync(join(rootfs, 'data/file'), 1000, 1001)
  mkdirSync(join(rootfs, 'mine'), { mode: 0o700 })
  chownSync(join(rootfs, 'mine'), 33, 34)
  const registry = await startRegistry()
  try {
    const links = [
      { name: 'outside', type: 'symlink', linkname: `../../../../..${machine.directory}` },
      // The host has more there.
      { name: machine.directory.slice(1), type: 'directory' },
      { name: 'alias', type: 'symlink', linkname: 'data/plain' },
      { name: 'declared', type: 'directory', uid: 70, gid: 70, mode: 0o750 },
    ] as const
    const layers = [busyboxMembers(), await layerOfEverything(machine.directory), ...CHANGES, links]
    const config = { ...BUSYBOX_CONFIG, Volumes: { '/declared': {} } }
    image = await pushImages(registry.host, 'volumes:1', [await makeImage({ layers, config })])
    await out('pull', '-q', '--tls-verify=false', image)
  } finally {
    await registry.stop()
  }
})
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  await out('volume', 'prune', '-f', '-a')
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)

async function expectRefused(args: readonly string[], pattern: RegExp): Promise<void> {
  const { exitCode, stderr } = await machine.tscrun(args)
  expect(exitCode).toBe(125)
  expectOneLine(stderr, pattern)
}

/** Names of volumes. */
const volumes = async (...flags: readonly string[]): Promise<string[]> =>
  (await out('volume', 'ls', '-q', ...flags)).split('\n').slice(0, -1)
const onHost = (name: string, ...path: readonly string[]): string =>
  join(machine.store, 'volumes', name, '_data', ...path)

/** `run` without --rm, with a name; answers it. */
let count = 0
async function kept(flags: readonly string[], ...command: readonly string[]): Promise<string> {
  const name = `kept${count++}`
  await out('run', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, ...command)
  return name
}

describe('a named volume', () => {
  it('keeps what containers write, whose ids are the same in each of them although their ranges differ', async () => {
    await machine.sh('touch /v/root; touch /v/alice; chown 1000:1001 /v/alice', ['-v', 'shared:/v'])
    const [first, second] = await Promise.all(
      [1, 2].map(() => machine.sh('cut -c1-30 /proc/self/uid_map; ls -n /v | tail -2', ['-v', 'shared:/v'])),
    )
    const owners = (text = ''): string[][] =>
      text
        .split('\n')
        .slice(1)
        .map((line) => line.split(/ +/).slice(2, 4))
    expect(owners(first)).toEqual([
      ['1000', '1001'],
      ['0', '0'],
    ])
    expect(owners(second)).toEqual(owners(first))
    expect(first?.split('\n')[0]).not.toBe(second?.split('\n')[0])
    expect(statSync(onHost('shared', 'alice')).uid).toBe(1000)
  })

  it('is made by its first use, or by volume create', async () => {
    expect(await out('volume', 'create', '--label', 'a=b', 'made')).toBe('made\n')
    await machine.sh('echo x > /v/x', ['-v', 'used:/v'])
    expect(await volumes()).toEqual(['made', 'used'])
    expect(await volumes('--filter', 'label=a=b')).toEqual(['made'])
    expect(await out('volume', 'inspect', '-f', '{{.Driver}} {{.Labels.a}} {{.Mountpoint}}', 'made')).toBe(
      `local b ${onHost('made')}\n`,
    )
    await expectRefused(
      ['volume', 'create', 'made'],
      /^tscrun: volume made: there is one of this name \(--ignore takes it/,
    )
    expect(await out('volume', 'create', '--ignore', 'made')).toBe('made\n')
    await out('volume', 'exists', 'made')
    expect((await machine.tscrun(['volume', 'exists', 'nobody'])).exitCode).toBe(1)
    await out('volume', 'rm', 'made', 'used')
    await expectRefused(['volume', 'rm', 'made'], /^tscrun: volume made: there is none/)
    await out('volume', 'rm', '-f', 'made')
  })

  it('can be read-only, and executable or not', async () => {
    const flags = ['-v', 'options:/v:ro,noexec']
    expect(
      await machine.sh('touch /v/x 2>/dev/null || echo ro; grep -c " /v .*noexec" /proc/self/mountinfo', flags),
    ).toBe('ro\n1')
  })

  it('has no name that is a path, nor one of its own kind', async () => {
    for (const name of ['a/b', '.hidden', '-x', 'a b', 'ä'])
      await expectRefused(['volume', 'create', '--', name], /^tscrun: volume .*: not a volume name/)
  })

  it.each([
    ['-o type=nfs -o o=addr=1.2.3.4 -o device=:/x', /^tscrun: volume option type=nfs: the kernel mounts it/],
    ['-o type=none -o o=bind -o device=/nix/da', /^tscrun: volume option device=\/nix\/da: no such directory/],
    ['-o type=ext4 -o device=/dev/vda', /^tscrun: volume option type=ext4: only tmpfs and none/],
    ['-o size=1g', /^tscrun: volume option size=1g: unknown option/],
    ['-o type=tmpfs -o o=size=lots', /^tscrun: volume option o=size=lots: not an option of a tmpfs/],
  ])('is not made with %s', (options, pattern) =>
    expectRefused(['volume', 'create', ...options.split(' '), 'x'], pattern),
  )

  it('with type=tmpfs is memory of each container, with o=bind a directory of the host', async () => {
    await out('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m,mode=1770', 'memory')
    expect(await machine.sh('stat -c %a /v; df -k /v | tail -1 | tr -s " " | cut -d" " -f2', ['-v', 'memory:/v'])).toBe(
      '1770\n1024',
    )
    const directory = join(machine.directory, 'bound')
    mkdirSync(directory)
    await out('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${directory}`, 'bound')
    await machine.sh('echo through > /v/x', ['-v', 'bound:/v'])
    expect(readFileSync(join(directory, 'x'), 'utf8')).toBe('through\n')
  })
})

describe('the first use of a volume', () => {
  it('copies what the image shows there: owners, modes, times, links, attributes, no more and no less', async () => {
    const without = await machine.tscrun(['run', ...showTree(image)])
    const volume = showTree(image)
    const with_ = await machine.tscrun(['run', '-v', 'full:/data', ...volume])
    expect({ exitCode: with_.exitCode, stderr: with_.stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(with_.stdout).toBe(without.stdout)
    expect(with_.stdout).toContain('user.note')
    expect(with_.stdout).toContain('security.capability')
  })

  it('follows links within the image only', async () => {
    writeFileSync(join(machine.directory, 'secret'), '')
    const { stdout, stderr } = await machine.tscrun([
      'run',
      '--rm',
      '-v',
      'out:/outside',
      '-v',
      'in:/alias',
      image,
      'ls',
      '/alias/',
    ])
    expect(stdout.split('\n'), stderr).toContain('deep')
    expect(readdirSync(onHost('out'))).toEqual([])
  })

  it('gives it owner and mode of an empty directory; later ones do not', async () => {
    expect(await machine.sh('stat -c "%a %u:%g" /mine', ['-v', 'mine:/mine'])).toBe('700 33:34')
    await machine.sh('chown 5:6 /mine', ['-v', 'mine:/mine'])
    expect(await machine.sh('stat -c "%a %u:%g" /mine', ['-v', 'mine:/mine'])).toBe('700 5:6')
  })

  it('copies nothing with nocopy, and nothing into a volume that has something', async () => {
    expect(await machine.sh('ls /data', ['-v', 'bare:/data:nocopy'])).toBe('')
    await machine.sh('touch /v/own', ['-v', 'other:/v'])
    expect(await machine.sh('ls /data', ['-v', 'other:/data'])).toBe('own')
    expect(await machine.sh('ls /data', ['--mount', 'type=volume,src=bare2,dst=/data,volume-nocopy'])).toBe('')
    // As in docker an empty one is filled also later.
    expect(await machine.sh('ls /data', ['-v', 'bare:/data'])).toBe('file\nsub')
  })

  it('is one, also when several begin at once: nobody writes into what is replaced', async () => {
    const script = 'touch /data/$HOSTNAME; until [ $(ls /data | wc -l) = 7 ]; do sleep 0.05; done; cat /data/file'
    const texts = await Promise.all(
      [1, 2, 3, 4, 5].map((n) => machine.sh(script, ['-v', 'once:/data', '--hostname', `h${n}`])),
    )
    expect(texts).toEqual(Array.from({ length: 5 }, () => 'of the image'))
  })

  it('that is killed leaves no half of it', async () => {
    const many = join(machine.directory, 'many')
    mkdirSync(join(many, 'data'), { recursive: true })
    for (let n = 0; n < 3000; n++) writeFileSync(join(many, 'data', String(n)), 'x')
    const args = ['run', '--rm', '-v', 'cut:/data', '-v', `${machine.rootfs}/bin:/bin:ro`, '--rootfs', `${many}:O`]
    const subprocess = machine.tscrun([...args, 'true'])
    const copying = join(machine.store, 'volumes/cut/_data.new')
    await until(() => existsSync(copying) && readdirSync(copying).length > 10)
    subprocess.kill('SIGKILL')
    await subprocess
    expect(readdirSync(onHost('cut'))).toEqual([])
    await out('ps')
    const { stdout } = await machine.tscrun([...args, 'sh', '-c', 'ls /data | wc -l'])
    expect(stdout).toBe('3000\n')
    expect(existsSync(copying)).toBe(false)
    rmSync(many, { recursive: true })
  })
})

describe('a volume in use', () => {
  it('cannot be removed, by a container that runs or has ended, which is named', async () => {
    const stopped = await kept(['-v', 'used:/v'], 'true')
    await expectRefused(
      ['volume', 'rm', 'used'],
      new RegExp(`^tscrun: volume used: used by container ${stopped} \\(remove the`),
    )
    await out('run', '-d', '--name', 'running', '-v', 'used:/v', '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000')
    await out('rm', stopped)
    await expectRefused(['volume', 'rm', '-f', 'used'], /^tscrun: volume used: used by container running /)
    expect(await volumes('--filter', 'dangling=true')).toEqual([])
    expect(await out('ps', '--filter', 'volume=used', '--format', '{{.Names}} {{.Mounts}}')).toBe('running used\n')
    expect(await out('inspect', '-f', '{{(index .Mounts 0).Type}} {{(index .Mounts 0).Name}}', 'running')).toBe(
      'volume used\n',
    )
    await out('rm', '-f', 'running')
    expect(await volumes('--filter', 'dangling=true')).toEqual(['used'])
    await out('volume', 'rm', 'used')
  })

  it('is free when the container was killed together with its command', async () => {
    const subprocess = machine.run(['--name', 'victim', '-v', 'freed:/v'], ['sh', '-c', 'echo up; sleep 1000'])
    await new Promise((resolve) => subprocess.stdout.once('data', resolve))
    const monitor = pidOf('tscrun: victim') ?? 0
    subprocess.kill('SIGKILL')
    process.kill(monitor, 'SIGKILL')
    await subprocess
    await out('ps')
    expect(await out('volume', 'rm', 'freed')).toBe('freed\n')
  })
})

describe('an anonymous volume', () => {
  it('is made for each path that the image declares, with its owner and mode, unless something else is there', async () => {
    const script = 'grep -c " /declared " /proc/self/mountinfo; stat -c "%a %u:%g" /declared'
    const run = async (...flags: readonly string[]): Promise<string> =>
      out('run', '--rm', ...flags, image, 'sh', '-c', script)
    expect(await run()).toBe('1\n750 70:70\n')
    expect(await run('--tmpfs', '/declared:mode=700')).toBe('1\n700 0:0\n')
    expect(await run('-v', 'named:/declared')).toBe('1\n750 70:70\n')
    expect(await volumes()).toEqual(['named'])
  })

  it('goes with --rm, in the foreground and, without Node, in the background', async () => {
    expect(await machine.sh('touch /v/x; mkdir -p /v/a/b/c; ls /v', ['-v', '/v'])).toBe('a\nx')
    expect(await volumes()).toEqual([])
    const script = 'mkdir -p /declared/a/b; touch /declared/a/b/c; exec sleep 19310'
    await out('run', '-d', '--rm', '--name', 'gone', '-v', '/v', '-v', 'stays:/w', image, 'sh', '-c', script)
    expect(await volumes('--filter', 'anonymous=true')).toHaveLength(2)
    process.kill(pidOf('sleep 19310') ?? 0, 'SIGKILL')
    // Nobody is asked: the monitor has done it.
    await until(() => readdirSync(join(machine.store, 'volumes')).join() === 'stays')
    await until(() => machine.containers().length === 0)
    expect(readdirSync(join(machine.store, 'volumes/stays/users'))).toEqual([])
  })

  it('outlives rm, unless by rm -v', async () => {
    const [first, second] = [await kept(['-v', '/v'], 'true'), await kept(['-v', '/v'], 'true')]
    await out('rm', first)
    expect(await volumes()).toHaveLength(2)
    await out('rm', '-v', second)
    const [left = ''] = await volumes('--filter', 'dangling=true')
    expect(left).toMatch(/^[0-9a-f]{64}$/)
    expect(await out('volume', 'rm', left.slice(0, 12))).toBe(`${left}\n`)
  })

  it('goes with the container that could not be started, and with one killed while it was made', async () => {
    expect((await machine.run(['-v', '/v'], ['/nothing/there'])).exitCode).toBe(127)
    expect((await machine.tscrun(['run', '-d', '-v', '/v', image, '/nothing/there'])).exitCode).toBe(127)
    expect(await volumes()).toEqual([])
    // As a command leaves it that is killed between the volume and the container's record.
    const { stdout: made } = await machine.tscrun(['volume', 'create'])
    const id = '0'.repeat(64)
    writeFileSync(join(machine.store, 'volumes', made.trim(), 'users', id), '')
    mkdirSync(join(machine.store, 'containers', id))
    await out('ps')
    expect(await volumes()).toEqual([])
  })

  it('stays while another container has it by --volumes-from', async () => {
    await out('run', '-d', '--rm', '--name', 'owner', '-v', '/v', '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000')
    const other = await kept(['--volumes-from', 'owner:ro'], 'sh', '-c', 'touch /v/x 2>/dev/null || true')
    await out('stop', '-t', '0', 'owner')
    const [name = ''] = await volumes()
    expect(readdirSync(onHost(name))).toEqual([])
    await expectRefused(['volume', 'rm', name], new RegExp(`used by container ${other} `))
  })
})

describe('--volumes-from', () => {
  it('takes volumes and directories of another container, its own mounts first', async () => {
    const directory = join(machine.directory, 'directory')
    mkdirSync(directory, { recursive: true })
    const first = await kept(['-v', 'one:/one', '-v', `${directory}:/two:ro`, '-v', 'three:/three'], 'touch', '/one/x')
    const script = 'ls /one; touch /two/y 2>/dev/null || echo ro; ls /three; ls -d /three'
    expect(await machine.sh(script, ['--volumes-from', first, '-v', `${machine.rootfs}/home:/three`])).toBe(
      'x\nro\nalice\n/three',
    )
    await expectRefused(
      ['run', '--volumes-from', 'nobody', '--rootfs', machine.rootfs, 'true'],
      /container nobody: there is none/,
    )
  })
})

describe('option U', () => {
  it('gives a volume or a directory, with all in it and no more, to the user of the container', async () => {
    const directory = join(machine.directory, 'given')
    mkdirSync(join(directory, 'a'), { recursive: true })
    writeFileSync(join(machine.directory, 'not-in-it'), '')
    writeFileSync(join(directory, 'a/b'), '')
    symlinkSync('../not-in-it', join(directory, 'link'))
    chmodSync(directory, 0o700)
    const flags = ['-u', '1000:1001', '-v', `${directory}:/g:U`, '-v', 'data:/data:U']
    expect(await machine.sh('touch /g/a/c && stat -c %u:%g /g /g/a/b /data/file /data', flags)).toBe(
      Array.from({ length: 4 }, () => '1000:1001').join('\n'),
    )
    expect(statSync(join(machine.directory, 'not-in-it')).uid).toBe(0)
    await expectRefused(
      ['run', '--rm', '-v', '/etc:/e:U', '--rootfs', `${machine.rootfs}:O`, 'true'],
      /^tscrun: volume \/etc: option U/,
    )
  })
})

describe('what is half made or half removed', () => {
  it('is not listed, is removed, and its name can be had', async () => {
    await out('volume', 'create', 'cut')
    const directory = join(machine.store, 'volumes')
    // As rm leaves it that is killed on its way, as a killed create leaves it, as the monitor does.
    rmSync(join(directory, 'cut/users'), { recursive: true })
    mkdirSync(join(directory, '.new-1-x/_data/deep'), { recursive: true })
    mkdirSync(join(directory, '.gone-1-y/_data'), { recursive: true })
    expect(await volumes()).toEqual([])
    expect(readdirSync(directory)).toEqual([])
    await out('volume', 'create', 'cut')
    rmSync(join(directory, 'cut/users'), { recursive: true })
    expect(await machine.sh('ls /v', ['-v', 'cut:/v'])).toBe('')
    expect(await volumes()).toEqual(['cut'])
  })
})

describe('volume prune', () => {
  it('removes anonymous ones nobody has, with --all the others, and asks only on a terminal', async () => {
    await out('volume', 'create', 'named')
    await out('volume', 'create', '--label', 'keep', 'kept')
    await machine.sh('dd if=/dev/zero of=/v/x bs=1024 count=2000 2>/dev/null', ['-v', 'named:/v'])
    const anonymous = (await out('volume', 'create')).trim()
    await expectRefused(
      ['volume', 'prune'],
      /^tscrun: volume prune: standard input is no terminal to ask on \(add --force/,
    )
    expect(await out('volume', 'prune', '-f')).toBe(`Deleted Volumes:\n${anonymous}\n\nTotal reclaimed space: 4.1kB\n`)
    expect(await out('volume', 'prune', '-f', '-a', '--filter', 'label!=keep')).toMatch(
      /^Deleted Volumes:\nnamed\n\nTotal reclaimed space: 2\.0[0-9]MB\n$/,
    )
    expect(await volumes()).toEqual(['kept'])
  })
})
