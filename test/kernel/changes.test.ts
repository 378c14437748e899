import * as fs from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busyboxMembers, makeImage, writeLayout } from '../clients/fixtures/images.ts'
import { expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
beforeAll(async () => {
  const image = await makeImage({
    layers: [
      [
        ...busyboxMembers(),
        { name: 'data', type: 'directory' },
        ...['changed', 'deleted', 'kept', 'moved', 'touched'].map((name) => ({
          name: `data/${name}`,
          content: `${name}\n`,
        })),
        { name: 'data/old', type: 'directory' },
        { name: 'data/old/file', content: 'old\n' },
        { name: 'data/emptied', type: 'directory' },
        { name: 'data/emptied/below', type: 'directory' },
        { name: 'data/emptied/below/file', content: 'x\n' },
        { name: 'data/emptied/again', content: 'first\n' },
        { name: 'data/was-dir', type: 'directory' },
        { name: 'data/was-dir/file', content: 'x\n' },
      ],
    ],
    config: { Cmd: ['sh', '-c', 'echo default'], Env: ['PATH=/bin', 'A=1'], WorkingDir: '/data', Labels: { one: '1' } },
  })
  const layout = join(machine.directory, 'layout')
  writeLayout(layout, [image])
  await done(['load', '-q', '-i', layout])
  await done(['tag', image.config.digest, 'base'])
  await done([
    'run',
    '-d',
    '--name',
    'c',
    '-e',
    'B=2',
    '--label',
    'two=2',
    'base',
    'sh',
    '-c',
    `[ -e /done ] || { ${CHANGES}; }; sleep 1000`,
  ])
  while ((await machine.tscrun(['exec', 'c', 'test', '-e', '/done'])).exitCode !== 0);
})
afterAll(async () => {
  await done(['rm', '-f', 'c'])
})

/** Everything a container can do to the files of its image; at last it says so. */
const CHANGES = `cd /data; echo more >> changed; rm deleted; mv old renamed; chmod 600 touched
  rm -r emptied; mkdir emptied; echo second > emptied/again; echo new > emptied/new
  rm -r was-dir; echo now > was-dir; mkdir -p /new/dir; echo "it's" > "/new/dir/a name"; ln changed /new/hard
  ln -s /data/kept /new/link; mknod /new/fifo p 2>/dev/null || busybox mkfifo /new/fifo
  chown -h 1000:2000 /new/link /new/dir; chmod 2750 /new/dir
  dd if=/dev/zero of=/new/sparse bs=1 count=1 seek=30000000 2>/dev/null
  echo x > /new/.wh.hides; echo x > "/new/$(printf '\\377\\376')"; : > /done`

async function done(args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
  return stdout
}

const EXPECTED = `C /data
C /data/changed
D /data/deleted
C /data/emptied
C /data/emptied/again
D /data/emptied/below
A /data/emptied/new
D /data/old
A /data/renamed
A /data/renamed/file
C /data/touched
C /data/was-dir
A /done
A /new
A /new/.wh.hides
A /new/dir
A /new/dir/a name
A /new/fifo
A /new/hard
A /new/link
A /new/sparse
A /new/\ufffd\ufffd
`

describe('diff', () => {
  it('tells what was added, changed and deleted, of a container that runs and of one that does not', async () => {
    expect(await done(['diff', 'c'])).toBe(EXPECTED)
    expect(JSON.parse(await done(['diff', '--format', 'json', 'c']))).toMatchObject({
      deleted: ['/data/deleted', '/data/emptied/below', '/data/old'],
    })
    await done(['stop', '-t', '0', 'c'])
    expect(await done(['diff', 'c'])).toBe(EXPECTED)
    await done(['start', 'c'])
  })

  it('is empty for a container that changed nothing, whatever is mounted in it', async () => {
    await done(['run', '--name', 'nothing', '--tmpfs', '/run', 'base', 'true'])
    expect(await done(['diff', 'nothing'])).toBe('')
    await done(['rm', 'nothing'])
  })

  it('is empty for a container that was never started, and a commit of it adds nothing', async () => {
    await done(['create', '--name', 'fresh', '--network', 'none', 'base', 'true'])
    expect(await done(['diff', 'fresh'])).toBe('')
    await done(['commit', '-q', 'fresh', 'same'])
    expect(JSON.parse(await done(['inspect', 'same']))[0].RootFS.Layers).toHaveLength(1)
    await done(['rm', 'fresh'])
  })

  it('says so where what is written lies in no layer', async () => {
    await done(['run', '-d', '--name', 'memory', '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000'])
    const { exitCode, stderr } = await machine.tscrun(['diff', 'memory'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /diff memory: what it writes is kept in memory alone \(`tscrun export` and `tscrun cp`/)
    await done(['rm', '-f', 'memory'])
  })
})

/** Names, kinds, modes, owners and what links say, of all but what the runtime makes. */
async function listing(archive: string): Promise<string[]> {
  const { stdout } = await execa('tar', ['--numeric-owner', '-tvf', archive], { env: { TZ: 'UTC', LC_ALL: 'C' } })
  return stdout.split('\n').filter((line) => / (data|new)\//.test(line))
}

describe('export', () => {
  it('is the tree the container sees, without its mounts, running or not', async () => {
    const [running, stopped] = [join(machine.directory, 'running.tar'), join(machine.directory, 'stopped.tar')]
    await done(['export', '-o', running, 'c'])
    await done(['stop', '-t', '0', 'c'])
    await done(['export', '-o', stopped, 'c'])
    await done(['start', 'c'])
    const lines = await listing(running)
    expect((await listing(stopped)).length).toBe(lines.length)
    const shown = lines.map((line) => line.replace(/ +\d+ \d{4}-\d\d-\d\d \d\d:\d\d /, ' '))
    expect(shown).toContain('-rw------- 0/0 data/touched')
    expect(shown).toContain('drwxr-s--- 1000/2000 new/dir/')
    expect(shown).toContain('lrwxrwxrwx 1000/2000 new/link -> /data/kept')
    expect(shown).toContain('hrw-r--r-- 0/0 new/hard link to data/changed')
    expect(shown.filter((line) => /deleted|old|below/.test(line))).toEqual([])
    // A hole is not written out.
    expect(fs.statSync(running).size).toBeLessThan(10_000_000)
    const { stdout } = await execa('tar', ['-tf', running])
    expect(stdout.split('\n').filter((name) => /^(proc|sys|dev)\/./.test(name))).toEqual([])
  })
})

describe('commit', () => {
  it('makes an image that has all that and runs, and that umoci unpacks the same', async () => {
    const { stdout: id, stderr } = await machine.tscrun([
      'commit',
      '-a',
      'me',
      '-m',
      'note',
      '-c',
      'CMD ["cat","emptied/again"]',
      'c',
      'made:1',
    ])
    expect(stderr).toBe('tscrun: warning: /new/.wh.hides is left out: in a layer such a name hides another file\n')
    expect(id).toMatch(/^sha256:/)
    expect(await done(['run', '--rm', 'made:1'])).toBe('second\n')
    const script = `stat -c '%A %u:%g %h %n' data/touched new/dir new/hard; readlink new/link; ls data data/emptied; echo $B; cat "new/dir/a name"; stat -c %s new/sparse`
    const seen = await done(['run', '--rm', '-w', '/', 'made:1', 'sh', '-c', script])
    expect(seen).toBe(
      "-rw------- 0:0 1 data/touched\ndrwxr-s--- 1000:2000 2 new/dir\n-rw-r--r-- 0:0 2 new/hard\n/data/kept\ndata:\nchanged\nemptied\nkept\nmoved\nrenamed\ntouched\nwas-dir\n\ndata/emptied:\nagain\nnew\n2\nit's\n30000001\n",
    )
    const reference = `${join(machine.store, 'images')}:docker.io/library/made:1`
    const { stdout } = await execa('skopeo', ['inspect', '--config', `oci:${reference}`])
    expect(JSON.parse(stdout)).toMatchObject({
      author: 'me',
      config: {
        Cmd: ['cat', 'emptied/again'],
        Env: ['PATH=/bin', 'A=1', 'B=2'],
        WorkingDir: '/data',
        Labels: { one: '1', two: '2' },
      },
      history: [{}, { comment: 'note' }],
    })
    const format = '{{.Author}}, {{.Comment}}, {{json .Config.OnBuild}}'
    expect(await done(['image', 'inspect', '-f', format, 'made:1'])).toBe('me, note, []\n')
    const bundle = join(machine.directory, 'bundle')
    await execa('skopeo', [
      '--insecure-policy',
      'copy',
      '-q',
      `oci:${reference}`,
      `oci:${join(machine.directory, 'copied')}:x`,
    ])
    await execa('umoci', ['unpack', '--image', `${join(machine.directory, 'copied')}:x`, bundle])
    const root = (name: string): string => join(bundle, 'rootfs', name)
    expect(fs.existsSync(root('data/deleted')) || fs.existsSync(root('data/emptied/below'))).toBe(false)
    expect(fs.statSync(root('new/hard')).ino).toBe(fs.statSync(root('data/changed')).ino)
    expect(
      fs
        .readdirSync(Buffer.from(root('new')), { encoding: 'buffer' })
        .some((name) => name.equals(Buffer.of(0xff, 0xfe))),
    ).toBe(true)
  })

  it('of a capability that root of the container gave is one for everybody', async () => {
    const upper = join(machine.store, 'containers', (await done(['inspect', '-f', '{{.Id}}', 'c'])).trim(), 'upper')
    const rootId = fs.statSync(join(upper, 'done')).uid
    fs.copyFileSync('/bin/true', join(upper, 'new/capable'))
    await execa('setcap', ['-n', String(rootId), 'cap_net_raw+ep', join(upper, 'new/capable')])
    await done(['commit', '-q', 'c', 'capable'])
    await done(['export', '-o', join(machine.directory, 'capable.tar'), 'c'])
    const out = join(machine.directory, 'capable')
    fs.mkdirSync(out)
    await execa('tar', [
      '-C',
      out,
      '--xattrs',
      '--xattrs-include=*',
      '-xf',
      join(machine.directory, 'capable.tar'),
      'new/capable',
    ])
    expect((await execa('getcap', ['-n', join(out, 'new/capable')])).stdout).not.toContain('rootid')
    expect((await execa('getcap', [join(out, 'new/capable')])).stdout).toMatch(/cap_net_raw[+=]e?p/)
    expect(rootId).toBeGreaterThan(65535)
  })

  it('--squash makes one layer, and a commit without changes none', async () => {
    await done(['commit', '-q', '-s', 'c', 'squashed'])
    expect(JSON.parse(await done(['inspect', 'squashed']))[0].RootFS.Layers).toHaveLength(1)
    expect(await done(['run', '--rm', 'squashed', 'cat', '/data/changed'])).toBe('changed\nmore\n')
    await done(['run', '--name', 'nothing', 'base', 'true'])
    await done(['commit', 'nothing', 'same'])
    expect(JSON.parse(await done(['inspect', 'same']))[0].RootFS.Layers).toHaveLength(1)
    await done(['rm', 'nothing'])
  })

  it('freezes the container only while it reads, and refuses what it cannot do in one line', async () => {
    await done(['commit', '-q', 'c'])
    expect((await done(['inspect', '-f', '{{.State.Status}}', 'c'])).trim()).toBe('running')
    for (const [args, reason] of [
      [['commit', '-c', 'COPY a b', 'c', 'x'], /--change COPY a b: an unknown instruction/],
      [['commit', 'c', 'UPPER'], /a repository is written in lower case/],
      [['commit', 'c', `a@sha256:${'0'.repeat(64)}`], /a name for a new image has no digest/],
      [['commit', 'absent', 'x'], /container absent: there is none/],
    ] as const) {
      const { exitCode, stderr } = await machine.tscrun([...args])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, reason)
    }
  })
})
