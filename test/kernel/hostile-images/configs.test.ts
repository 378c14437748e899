import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobOf, busyboxMembers, makeTar, OCI_MANIFEST } from '../../clients/fixtures/images.ts'
import { type Ended, expectOneLine, TSCRUN } from '../fixtures/machine.ts'
import { describeBlob, partsOf, writeLayoutOf } from './fixtures/trial.ts'

let directory: string
let layer: Buffer

beforeAll(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-configs-'))
  layer = await makeTar(busyboxMembers())
})
afterAll(() => fs.rmSync(directory, { recursive: true }))

function tscrun(...args: readonly string[]): Promise<Ended> {
  const globals = ['--root', join(directory, 'store'), '--runroot', join(directory, 'run'), '--log-level', 'error']
  return execa(TSCRUN, [...globals, ...args], { reject: false, stdin: 'ignore' }) as unknown as Promise<Ended>
}

/** Loads an image with this config; answers its id. */
async function load(config: Readonly<Record<string, unknown>>, more: object = {}): Promise<string> {
  const source = fs.mkdtempSync(join(directory, 'source-'))
  const parts = partsOf({ layers: [layer], config })
  const made = blobOf({ ...(JSON.parse(parts.config.bytes.toString()) as object), ...more })
  const manifest = blobOf({
    ...parts.manifest,
    config: { ...parts.manifest.config, digest: made.digest, size: made.bytes.length },
  })
  writeLayoutOf(source, [made, ...parts.layers, manifest], describeBlob(manifest, OCI_MANIFEST))
  const { exitCode, stderr } = await tscrun('load', '-q', '-i', source)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return made.digest
}

const ECHO = ['/bin/echo', 'ran']

describe('an image whose config is made to harm', () => {
  const refused: readonly (readonly [string, Readonly<Record<string, unknown>>, number, RegExp])[] = [
    ['a working directory that is a descriptor', { WorkingDir: '/proc/self/fd/8' }, 125, /ELOOP/],
    ['a working directory that is too long', { WorkingDir: `/${'x'.repeat(100_000)}` }, 125, /ENAMETOOLONG|x\.\.\./],
    ['a working directory that is a file', { WorkingDir: '/etc/passwd' }, 125, /ENOTDIR/],
    ['a user beyond the ids', { User: '4294967296' }, 125, /not an id/],
    ['a user below the ids', { User: '-1' }, 125, /no such user/],
    ['a user with a line break', { User: 'root\n0' }, 125, /no such user/],
    ['a user that is a book', { User: 'x'.repeat(100_000) }, 125, /user "x+\.\.\./],
    ['no command', { Cmd: [] }, 125, /no command/],
    ['a command without a name', { Entrypoint: ['', ''] }, 127, /the command has no name/],
    [
      'a command that is too long',
      { Cmd: ['/bin/echo', 'x'.repeat(200_000)] },
      126,
      /E2BIG.*longer than the kernel takes/,
    ],
    ['a volume at the root', { Volumes: { '/': {} } }, 125, /declares a volume at "\/"/],
    ['a volume at the root by dots', { Volumes: { '/a/..': {} } }, 125, /declares a volume/],
    ['a volume over the processes', { Volumes: { '/proc/../proc/sys': {} } }, 125, /declares a volume/],
    ['a volume over the devices', { Volumes: { '/dev': {} } }, 125, /declares a volume/],
    ['a volume outside', { Volumes: { '..': {} } }, 125, /declares a volume/],
    [
      '2,000 volumes',
      { Volumes: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`/v${i}`, {}])) },
      125,
      /2000 volumes/,
    ],
  ]
  it.each(refused)('is refused when it is to run, in one line: %s', async (_, config, exitCode, line) => {
    const ended = await tscrun('run', '--rm', await load({ Cmd: ECHO, ...config }))
    expect({ exitCode: ended.exitCode, stdout: ended.stdout }, ended.stderr).toEqual({ exitCode, stdout: '' })
    expectOneLine(ended.stderr, line)
    expect(ended.stderr.length).toBeLessThan(6000)
  })

  it('steers nothing of the host by its variables, and they arrive as they are', async () => {
    const Env = [
      'LD_PRELOAD=/evil.so',
      'NODE_OPTIONS=--require /evil.js',
      'A=line\nbreak',
      'PATH=/bin',
      'TSCRUN_ROOT=/evil',
    ]
    const { exitCode, stdout, stderr } = await tscrun('run', '--rm', await load({ Env, Cmd: ['/bin/env'] }))
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    for (const variable of Env) expect(stdout).toContain(variable)
  })

  it('leads no path out of its root: working directory and volumes with `..`, colons and line breaks', async () => {
    const Volumes = { '/../../../srv/out': {}, 'rel/x': {}, '/etc:/host:rw': {}, '/a\nb': {}, ['__proto__']: {} }
    const Cmd = ['/bin/sh', '-c', 'pwd; grep -c . /proc/self/mounts >/dev/null; ls -d /srv/out /rel/x']
    const made = await load({ WorkingDir: '/../../../var/deep', Volumes, Cmd })
    const { exitCode, stdout, stderr } = await tscrun('run', '--rm', made)
    expect({ exitCode, stderr }, stdout).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout.split('\n')).toEqual(['/var/deep', '/rel/x', '/srv/out'])
    for (const path of ['/srv/out', '/rel', '/host', '/var/deep']) expect(fs.existsSync(path)).toBe(false)
  })

  it('is shown and run with labels, ports and a history that are too much, as what they are', async () => {
    const poison = JSON.parse(
      '{"__proto__":"x","constructor":"y","io.containerd.restart.loguri":"binary:///bin/sh"}',
    ) as object
    const ExposedPorts = { abc: {}, '99999/tcp': {}, '-1': {}, '80/evil': {}, '': {}, '\u001b[2J': {} }
    const Labels = { ...poison, ['__proto__']: 'x', big: 'x'.repeat(1_000_000), escape: '\u001b]0;owned\u0007' }
    const history = Array.from({ length: 2000 }, (_, i) => ({ created: 'never', created_by: `\u001b[2J${i}` }))
    const made = await load({ Cmd: ECHO, ExposedPorts, Labels }, { history, author: '\u001b[31m' })
    expect((await tscrun('run', '--rm', '-P', '--network', 'none', made)).stderr).not.toMatch(/internal error/)
    expect((await tscrun('run', '--rm', made)).stdout).toBe('ran')
    for (const command of [['images'], ['image', 'tree', made], ['history', made], ['inspect', made], ['ps', '-a']]) {
      const { exitCode, stdout, stderr } = await tscrun(...command)
      expect({ exitCode, stderr }, command.join(' ')).toEqual({ exitCode: 0, stderr: '' })
      expect(stdout, command.join(' ')).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)
    }
  })

  it('can be stopped whatever its stop signal is', async () => {
    for (const [StopSignal, code] of [
      ['SIGEVIL', 15],
      ['9999', 15],
      ['\u001b[2J', 15],
      ['RTMIN+3', 37],
      ['term', 15],
    ] as const) {
      const Cmd = ['/bin/sh', '-c', `trap 'exit 7' ${code}; echo up; while :; do sleep 0.05; done`]
      const id = (await tscrun('run', '-d', await load({ StopSignal, Cmd }))).stdout
      await expect.poll(async () => (await tscrun('logs', id)).stdout).toBe('up')
      const stopped = await tscrun('stop', id)
      expect({ exitCode: stopped.exitCode, stderr: stopped.stderr }).toEqual({ exitCode: 0, stderr: '' })
      expect((await tscrun('wait', id)).stdout).toBe('7')
      await tscrun('rm', id)
    }
  })
})
