import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RUNTIME } from '../oci/fixtures/runtimes.ts'

let directory: string
beforeAll(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'oci-cli-'))
})
afterAll(() => fs.rmSync(directory, { recursive: true }))

interface Said {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** With this environment and no other. */
function oci(words: readonly string[], env: Readonly<Record<string, string>> = {}): Said {
  const { status, stdout, stderr } = spawnSync(RUNTIME, words, { encoding: 'utf8', env, cwd: directory })
  return { status, stdout, stderr }
}

const file = (name: string): string => join(directory, name)
const VERBS =
  'create start state kill delete run exec pause resume ps list update events features spec plan checkpoint restore'

describe('an environment without PATH and HOME', () => {
  it.each([
    ['state', 'absent'],
    ['kill', 'absent', '9'],
    ['start', 'absent'],
    ['pause', 'absent'],
    ['resume', 'absent'],
    ['delete', 'absent'],
    ['exec', 'absent', 'true'],
    ['ps', '--format', 'json', 'absent'],
    ['update', '--pids-limit', '1', 'absent'],
    ['events', '--stats', 'absent'],
  ])('is enough for %s, which says that a container does not exist', (...words) => {
    const { status, stdout, stderr } = oci(['--root', file('none'), ...words])
    expect([status, stdout, stderr]).toEqual([
      words[0] === 'exec' ? 255 : 1,
      '',
      expect.stringContaining('"absent" does not exist'),
    ])
    expect(stderr.trimEnd()).not.toContain('\n')
  })
})

describe('version and help', () => {
  it('the version has the lines that docker, podman and go-runc look for', () => {
    for (const words of [['--version'], ['-v'], ['--root', '/x', '--version']]) {
      const { status, stdout } = oci(words)
      expect([status, stdout.split('\n')]).toEqual([
        0,
        expect.arrayContaining([
          expect.stringMatching(/^tscrun-runtime version [0-9]+\.[0-9]+\.[0-9]+$/),
          expect.stringMatching(/^commit: \S+$/),
          expect.stringMatching(/^spec: 1\.[0-9]+\.[0-9]+$/),
        ]),
      ])
    }
  })

  it('--help names every verb, and each verb has its own', () => {
    const { status, stdout } = oci(['--help'])
    expect([status, oci(['-h']).stdout, oci(['help']).stdout]).toEqual([0, stdout, stdout])
    for (const verb of VERBS.split(' ')) {
      expect(stdout).toContain(`\n  ${verb}\n`)
      if (verb === 'checkpoint') continue
      const help = oci([verb, '--help'])
      expect([verb, help.status, help.stdout.split('\n')[0]]).toEqual([
        verb,
        0,
        expect.stringContaining(`Usage:  tscrun-runtime ${verb} [OPTIONS]`),
      ])
    }
  })

  it('unknown words and flags, missing and superfluous ones end with 1 and one line', () => {
    for (const [words, says] of [
      [['frobnicate'], 'unknown command "frobnicate"'],
      [['--frobnicate', 'state', 'x'], 'unknown flag --frobnicate'],
      [['state', '--frobnicate', 'x'], 'unknown flag --frobnicate'],
      [['state'], 'an argument is missing'],
      [['start', 'a', 'b'], '2 arguments are too many'],
      [['create', '--preserve-fds', 'x', 'id'], '--preserve-fds x: not a whole number'],
      [['exec', '--preserve-fds', '900', 'id', 'true'], '--preserve-fds 900: '],
      [['--log-format', 'xml', 'state', 'x'], '--log-format xml'],
      [['--cgroup-manager', 'v1', 'state', 'x'], '--cgroup-manager v1'],
      [['--rootless', 'maybe', 'state', 'x'], '--rootless maybe'],
      [['state', 'a/b'], 'container id "a/b": invalid'],
      [['state', '..'], 'container id "..": invalid'],
      [['--root'], 'flag needs an argument: --root'],
    ] as const) {
      const { status, stdout, stderr } = oci(words)
      expect([words, status, stdout, stderr]).toEqual([
        words,
        words[0] === 'exec' ? 255 : 1,
        '',
        expect.stringContaining(says),
      ])
      expect(stderr.trimEnd()).not.toContain('\n')
    }
  })

  it('there is no checkpoint, and callers who ask find that out', () => {
    expect(oci(['checkpoint', '--help'])).toMatchObject({ status: 1, stderr: expect.stringContaining('not supported') })
    expect(oci(['checkpoint', '--image-path', '/x', '--leave-running', 'id'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('not supported'),
    })
    expect(oci(['restore', '--detach', '--bundle', '/x', 'id'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('not supported'),
    })
    expect(oci(['restore', '--lsm-mount-context'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('flag needs an argument'),
    })
  })
})

describe('flags before the verb', () => {
  it('are taken in both forms, and mixed, as callers write them', () => {
    for (const words of [
      ['--root', file('none'), '--log', file('log1'), '--log-format', 'json'],
      [`--root=${file('none')}`, '--log-format=json', '--log', file('log1')],
      ['--systemd-cgroup', '--root', file('none'), '--log-format=json', `--log=${file('log1')}`],
      ['--debug', '--rootless=auto', '--criu', '/usr/sbin/criu', '--root', file('none'), '--log', file('log1')],
      ['--cgroup-manager', 'disabled', '--root', file('none')],
    ]) {
      expect([words, oci([...words, 'state', 'absent']).stderr]).toEqual([
        words,
        expect.stringContaining('"absent" does not exist'),
      ])
    }
  })

  it('the last line of a JSON log is the error, appended; a text log has its words too', () => {
    const log = file('created.json')
    for (const id of ['one', 'two']) oci(['--log', log, '--log-format', 'json', '--root', file('none'), 'state', id])
    const lines = fs
      .readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>)
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['error', 'container "one" does not exist'],
      ['error', 'container "two" does not exist'],
    ])
    expect(lines.every(({ time = '' }) => new Date(time).toISOString() === time)).toBe(true)
    const text = file('created.log')
    oci(['--log', text, '--debug', '--root', file('none'), 'state', 'three'])
    const [first = '', last = ''] = fs.readFileSync(text, 'utf8').trimEnd().split('\n')
    expect([first, last]).toEqual([
      expect.stringMatching(/^time=".*" level=debug msg=/),
      expect.stringMatching(/^time=".*" level=error msg="container \\"three\\" does not exist"$/),
    ])
  })

  it('a log is made also where there is nothing to tell', () => {
    expect(oci(['--log', file('empty.json'), '--log-format', 'json', '--root', file('none'), 'list', '-q'])).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    })
    expect(fs.readFileSync(file('empty.json'), 'utf8')).toBe('')
  })

  it('a log that cannot be written does not swallow the error', () => {
    const { status, stderr } = oci(['--log', file('no/such/log'), '--root', file('none'), 'state', 'absent'])
    expect([status, stderr]).toEqual([1, expect.stringContaining('"absent" does not exist')])
  })

  it('--systemd-cgroup without systemd is one line that says so', () => {
    oci(['spec', '--bundle', directory])
    fs.mkdirSync(file('rootfs'))
    const config = JSON.parse(fs.readFileSync(file('config.json'), 'utf8')) as { process: { terminal: boolean } }
    config.process.terminal = false
    fs.writeFileSync(file('config.json'), JSON.stringify(config))
    // Also where systemd runs: here its files are not to be seen.
    const hidden = ['-m', 'sh', '-ec', 'mount -t tmpfs none /run; exec "$@"', 'sh']
    const words = [RUNTIME, '--systemd-cgroup', '--root', file('containers'), 'create', 'x']
    const { status, stderr } = spawnSync('unshare', [...hidden, ...words], { encoding: 'utf8', cwd: directory })
    expect([status, stderr]).toEqual([1, expect.stringContaining('systemd is not running here')])
    expect(fs.readdirSync(file('containers'))).toEqual([])
  })
})

describe('features, spec and plan', () => {
  it('features is JSON and nothing else', () => {
    const { status, stdout } = oci(['features'])
    const document = JSON.parse(stdout) as { ociVersionMin: string; linux: { cgroup: { systemd: boolean } } }
    expect([status, document.ociVersionMin, document.linux.cgroup.systemd]).toEqual([0, '1.0.0', true])
  })

  it('spec writes a config.json that plan and create take, and never over one that is there', () => {
    const bundle = file('fresh')
    fs.mkdirSync(join(bundle, 'rootfs'), { recursive: true })
    expect(oci(['spec', '--bundle', bundle])).toEqual({ status: 0, stdout: '', stderr: '' })
    expect(oci(['spec', '-b', bundle])).toMatchObject({ status: 1, stderr: expect.stringContaining('the file exists') })
    const { status, stdout } = oci(['--root', file('untouched'), 'plan', '--bundle', bundle, 'never-made'])
    expect([status, stdout]).toEqual([0, expect.stringContaining('\n    gate listener=fd:gate\n')])
    const cgroups = fs.readdirSync('/sys/fs/cgroup', { recursive: true, encoding: 'utf8' })
    expect([fs.existsSync(file('untouched')), cgroups.filter((path) => path.includes('never-made'))]).toEqual([
      false,
      [],
    ])
  })

  it('a missing bundle, config or root filesystem is told by name', () => {
    expect(oci(['create', '--bundle', file('nowhere'), 'x'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`${file('nowhere')}/config.json: no such file or directory`),
    })
    const bundle = file('rootless')
    fs.mkdirSync(bundle)
    oci(['spec', '-b', bundle])
    expect(oci(['--root', file('containers'), 'create', '-b', bundle, 'x'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('root.path'),
    })
  })
})
