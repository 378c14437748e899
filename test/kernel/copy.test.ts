import * as fs from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createEngine } from '../../src/index.ts'
import { makeTar } from '../clients/fixtures/images.ts'
import { expectNothingLeft, expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
/** A directory of the host, new for each test. */
let host = ''
let volume = ''
let count = 0
beforeAll(async () => {
  volume = join(machine.directory, 'volume')
  fs.mkdirSync(volume)
  const flags = ['-d', '--name', 'web', '-v', `${volume}:/v`, '--tmpfs', '/memory', '--rootfs', `${machine.rootfs}:O`]
  await done(['run', ...flags, 'sleep', '1000'])
})
beforeEach(() => {
  host = join(machine.directory, `host${count++}`)
  fs.mkdirSync(host)
})
afterAll(async () => {
  await done(['rm', '-f', 'web'])
  expectNothingLeft(machine)
})

/** A command of ours that must do without an error; its output. */
async function done(args: readonly string[], input?: Buffer): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args, input === undefined ? {} : { input, stdin: 'pipe' })
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
  return stdout
}
/** What cp refuses, and in which words. */
async function refused(from: string, to: string, reason: RegExp): Promise<void> {
  const { exitCode, stderr } = await machine.tscrun(['cp', from, to])
  expect(exitCode).toBe(125)
  expectOneLine(stderr, reason)
}
const inside = (script: string): Promise<string> => done(['exec', 'web', 'sh', '-c', script])
const at = (name: string): string => join(host, name)
const read = (path: string): string => fs.readFileSync(path, 'utf8')

/** `src/` with a file of two names, a directory, a link, an empty file and a large hole. */
function makeSource(): void {
  fs.mkdirSync(at('src/sub'), { recursive: true })
  fs.writeFileSync(at('src/file'), 'content\n')
  fs.linkSync(at('src/file'), at('src/hard'))
  fs.symlinkSync('sub/inner', at('src/link'))
  fs.writeFileSync(at('src/sub/inner'), 'inner\n', { mode: 0o640 })
  fs.writeFileSync(Buffer.concat([Buffer.from(at('src/')), Buffer.of(0xff, 0xfe)]), 'bytes')
  fs.writeFileSync(at('src/sparse'), '')
  fs.truncateSync(at('src/sparse'), 20 << 20)
  fs.utimesSync(at('src/file'), 1_600_000_000, 1_600_000_000)
}

describe('cp', () => {
  it('makes a directory of the name that is given, or puts it into the one that is there, or its content alone', async () => {
    makeSource()
    await inside('mkdir -p /one/there')
    await done(['cp', at('src'), 'web:/one/new'])
    await done(['cp', `${host}/src/`, 'web:/one/there'])
    await done(['cp', `${host}/src/.`, 'web:/one/there'])
    expect(await inside('ls -A /one/new; echo; ls -A /one/there')).toMatch(
      /^file\nhard\nlink\nsparse\nsub\n..?\n\nfile\nhard\nlink\nsparse\nsrc\nsub\n..?\n$/,
    )
    expect(
      await inside('cat /one/there/src/link; stat -c "%h %Y" /one/new/file; stat -c "%s %b" /one/new/sparse'),
    ).toBe(`inner\n2 1600000000\n${20 << 20} 0\n`)
    await done(['cp', 'web:/one/new', at('back')])
    const { stdout } = await execa('diff', ['-r', at('src'), at('back')])
    expect(stdout).toBe('')
    expect(fs.statSync(at('back/file')).ino).toBe(fs.statSync(at('back/hard')).ino)
    expect(fs.statSync(at('back/sparse')).blocks).toBe(0)
  })

  it('gives a file the name that is given, replaces the one that is there, and follows a link to where it leads', async () => {
    fs.writeFileSync(at('file'), 'new\n')
    await inside(
      'mkdir -p /two/dir; echo old > /two/old; ln -s old /two/link; ln -s /two/dangling-target /two/dangling',
    )
    for (const name of ['', 'given', 'old', 'dir', 'dir/', 'dangling'])
      await done(['cp', at('file'), `web:/two/${name}`])
    expect(
      await inside('cat /two/file /two/given /two/old /two/dir/file; readlink /two/dangling; cat /two/dangling'),
    ).toBe('new\nnew\nnew\nnew\n/two/dangling-target\nnew\n')
    fs.writeFileSync(at('file'), 'newer\n')
    await done(['cp', at('file'), 'web:/two/link'])
    expect(await inside('readlink /two/link; cat /two/old')).toBe('old\nnewer\n')
  })

  it('copies a link as a link, and with -L or a slash what it leads to', async () => {
    await inside('mkdir -p /three/dir; echo x > /three/dir/x; ln -s dir /three/link')
    await done(['cp', 'web:/three/link', at('link')])
    await done(['cp', '-L', 'web:/three/link', at('followed')])
    await done(['cp', 'web:/three/link/', at('slash')])
    expect(fs.readlinkSync(at('link'))).toBe('dir')
    expect([read(at('followed/x')), read(at('slash/x'))]).toEqual(['x\n', 'x\n'])
  })

  it('refuses what has no place to go, in one line', async () => {
    makeSource()
    await inside('mkdir -p /four/is-dir; echo x > /four/is-file')
    await refused(
      at('src/file'),
      'web:/four/absent/name',
      /^tscrun: cp web:\/four\/absent\/name: there is no such file/,
    )
    await refused(at('src/file'), 'web:/four/absent/', /there is no such directory \(make it first/)
    await refused(at('src'), 'web:/four/is-file', /a directory cannot become a file/)
    await refused('web:/four/absent', host, /web:\/four\/absent: there is no such file or directory \(ENOENT\)/)
    await refused('web:/four/is-file/', host, /a part of it is no directory/)
    await refused('nobody:/x', host, /container nobody: there is none/)
    await refused(at('src'), host, /neither is in a container/)
    await inside('mkdir -p /four/into/src; rm -r /four/into/src; echo x > /four/into/src')
    await refused(
      at('src'),
      'web:/four/into',
      /a file is in the place of a directory \(remove it first, or use --overwrite\)/,
    )
    await done(['cp', '--overwrite', at('src'), 'web:/four/into'])
    expect(await inside('cat /four/into/src/file')).toBe('content\n')
  })

  it('gives what it makes to root of the container and to its caller; with -a owners stay, by number', async () => {
    fs.writeFileSync(at('suid'), '', { mode: 0o755 })
    fs.chownSync(at('suid'), 1000, 10)
    fs.chmodSync(at('suid'), 0o4755)
    await done(['cp', at('suid'), 'web:/plain'])
    await done(['cp', '-a', at('suid'), 'web:/kept'])
    expect(await inside('stat -c "%u:%g %a" /plain /kept')).toBe('0:0 4755\n1000:10 4755\n')
    await done(['cp', 'web:/kept', at('plain')])
    await done(['cp', '-a', 'web:/kept', at('kept')])
    const shown = ['plain', 'kept']
      .map((name) => fs.statSync(at(name)))
      .map(({ uid, gid, mode }) => [uid, gid, mode & 0o7777])
    // A set-id bit out of a container would be the caller's.
    expect(shown).toEqual([
      [process.getuid?.(), process.getgid?.(), 0o755],
      [1000, 10, 0o4755],
    ])
  })

  it('keeps attributes and capabilities with -a, the latter for root of the container', async () => {
    fs.writeFileSync(at('capable'), '', { mode: 0o755 })
    await execa('setcap', ['cap_net_raw+ep', at('capable')])
    await execa('setfattr', ['-n', 'user.note', '-v', 'hello', at('capable')])
    await done(['cp', '-a', at('capable'), 'web:/v/capable'])
    await done(['cp', '-a', 'web:/v/capable', at('back')])
    expect((await execa('getcap', [at('back')])).stdout).toMatch(/cap_net_raw[+=]e?p/)
    expect((await execa('getfattr', ['--only-values', '-n', 'user.note', at('back')])).stdout).toBe('hello')
  })

  it('sees volumes, memory and what is mounted over a file of a container that runs', async () => {
    fs.writeFileSync(at('file'), 'mounted\n')
    for (const place of ['/v/file', '/memory/file', '/etc/hosts']) await done(['cp', at('file'), `web:${place}`])
    expect(read(join(volume, 'file'))).toBe('mounted\n')
    expect(fs.statSync(join(volume, 'file')).uid).toBe(0)
    expect(await inside('stat -c %u /v/file /memory/file; cat /memory/file /etc/hosts')).toBe(
      '0\n0\nmounted\nmounted\n',
    )
    await done(['cp', 'web:/memory/file', at('back')])
    expect(read(at('back'))).toBe('mounted\n')
  })

  it('writes and reads tar archives, as themselves and within a directory', async () => {
    makeSource()
    const packed = Buffer.from(
      (await execa('tar', ['-C', host, '--format=pax', '-S', '-cf', '-', 'src'], { encoding: 'buffer' })).stdout,
    )
    await inside('mkdir /five')
    await done(['cp', '-', 'web:/five'], packed)
    const { stdout } = await machine.tscrun(['cp', 'web:/five/src', '-'], { encoding: 'buffer' })
    // tar itself compares: content, modes, owners, times, links.
    await execa('tar', ['-C', host, '-df', '-'], { input: stdout as unknown as Buffer })
    const names = await execa('tar', ['-tf', '-'], {
      input: (await machine.tscrun(['cp', 'web:/five/src/.', '-'], { encoding: 'buffer' })).stdout as unknown as Buffer,
    })
    expect(names.stdout.split('\n').slice(0, 5)).toEqual(['file', 'hard', 'link', 'sparse', 'sub/'])
    await refused('-', 'web:/five/src/file', /an archive needs a directory|standard input/)
  })

  it('is `copyIn` and `copyOut` of a program', async () => {
    const engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
    const container = await engine.get('web')
    fs.writeFileSync(at('in'), 'in\n')
    await container.copyIn(at('in'), '/six')
    await container.copyOut('/six', at('out'))
    expect(read(at('out'))).toBe('in\n')
    const archive = await makeTar([{ name: 'seven/x', content: 'tar\n', mode: 0o600 }])
    await container.copyIn([archive], '/')
    const chunks: Buffer[] = []
    for await (const chunk of container.copyOut('/seven')) chunks.push(chunk)
    expect(Buffer.concat(chunks).toString('latin1')).toContain('tar\n')
    // Who has seen enough may leave.
    let seen = 0
    for await (const chunk of container.copyOut('/bin')) {
      seen += chunk.length
      break
    }
    expect(seen).toBeGreaterThan(0)
    await expect(container.copyOut('/absent', host)).rejects.toMatchObject({ code: 'NO_SUCH_FILE' })
  })
})
