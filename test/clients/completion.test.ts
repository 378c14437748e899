import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { complete } from '../../src/cli/completion/complete.ts'
import { FLAG_VALUES } from '../../src/cli/completion/values.ts'
import { ENTRIES } from '../../src/cli/registry.ts'
import { PROJECT, until } from '../kernel/fixtures/machine.ts'
import { openPty } from '../kernel/fixtures/pty.ts'

const ID = 'abcdef0123456789'.repeat(4)
let root: string
let env: NodeJS.ProcessEnv
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tscrun-completion-'))
  for (const path of ['names', 'containers', 'volumes/data', 'volumes/database', 'images', 'networks'])
    mkdirSync(join(root, path), { recursive: true })
  for (const name of ['web', 'worker']) symlinkSync(ID.slice(0, 32), join(root, 'names', name))
  mkdirSync(join(root, 'containers', ID))
  writeFileSync(join(root, 'networks/backend.json'), '{}')
  const manifests = ['docker.io/library/alpine:3', 'quay.io/some/thing:latest'].map((name) => ({
    annotations: { 'org.opencontainers.image.ref.name': name },
  }))
  writeFileSync(join(root, 'images/index.json'), JSON.stringify({ manifests }))
  env = { ...process.env, TSCRUN_CONFIG: '', TSCRUN_ROOT: root, PATH: `${PROJECT}bin:${process.env['PATH']}` }
})
afterAll(() => rmSync(root, { recursive: true }))

/** The words that fit the last one, and how a shell goes on. */
async function answers(...words: string[]): Promise<readonly string[]> {
  const { candidates, directive } = await complete(['--root', root, ...words])
  return [...candidates.map(({ word }) => word), ...(directive === '' ? [] : [`(${directive})`])]
}

describe('the words of a command line', () => {
  it('commands, members of groups, flags', async () => {
    expect(await answers('sta')).toEqual(expect.arrayContaining(['start']))
    expect(await answers('volume', 'p')).toEqual(['prune'])
    expect(await answers('container', 'unp')).toEqual(['unpause'])
    expect(await answers('run', '--cap-')).toEqual(['--cap-add', '--cap-drop'])
    expect(await answers('--log-')).toEqual(['--log-level'])
    expect(await answers('help', 'unp')).toEqual(expect.arrayContaining(['unpause']))
    expect(await answers('')).not.toContain('volume rm')
  })

  it('values of flags, behind a blank or =, also of bools and those that have several names', async () => {
    expect(await answers('run', '--pull', 'n')).toEqual(['never', 'newer'])
    expect(await answers('run', '--pull=n')).toEqual(['--pull=never', '--pull=newer'])
    expect(await answers('run', '--net', 'ho')).toEqual(['host'])
    expect(await answers('run', '--network', 'b')).toEqual(['backend'])
    expect(await answers('run', '--rm=')).toEqual(['--rm=true', '--rm=false'])
    expect(await answers('run', '-it', '--network', 'container:w')).toEqual(['container:web', 'container:worker'])
    expect(await answers('run', '--pid=con')).toEqual(['--pid=container:', '(nospace)'])
    expect(await answers('ps', '-f', 'sta')).toEqual(['status=', '(nospace)'])
    expect(await answers('ps', '--filter', 'status=ru')).toEqual(['status=running'])
    expect(await answers('run', '--cap-drop', 'SYS_P')).toEqual(['SYS_PTRACE', 'SYS_PACCT'].toSorted().toReversed())
    expect(await answers('run', '--env-file', 'x')).toEqual(['(files)'])
    expect(await answers('run', '-v', 'dat')).toEqual(['data:', 'database:', '(nospace)'])
    expect(await answers('run', '-v', './')).toEqual(['(files)'])
  })

  it('names of what the store has: containers and their ids, images, volumes', async () => {
    expect(await answers('stop', '-t', '3', 'w')).toEqual(['web', 'worker'])
    expect(await answers('rm', 'web', 'wo')).toEqual(['worker'])
    expect(await answers('logs', 'abc')).toEqual([ID.slice(0, 12)])
    expect(await answers('run', '--rm', 'al')).toEqual(['alpine:3'])
    expect(await answers('rmi', 'quay')).toEqual(['quay.io/some/thing', 'quay.io/some/thing:latest'])
    expect(await answers('volume', 'rm', 'datab')).toEqual(['database'])
    expect(await answers('network', 'rm', '')).toEqual(['backend'])
    expect(await answers('inspect', 'd')).toEqual(['docker.io/library/alpine:3', 'data', 'database'])
    expect(await answers('cp', 'we')).toEqual(['web:', '(nospace)'])
    expect(await answers('cp', 'web:/etc/hosts', './')).toEqual(['(files)'])
  })

  it('and nothing where nobody can know: the command in a container, its flags, a store that is not there', async () => {
    expect(await answers('run', 'alpine', 's')).toEqual([])
    expect(await answers('run', 'alpine', '--pul')).toEqual([])
    expect(await answers('run', '--rootfs=/', 'al')).toEqual([])
    expect(await answers('exec', 'web', '')).toEqual([])
    expect(await answers('nosuch', '')).toEqual([])
    expect(await answers('run', '--name', '')).toEqual([])
    expect((await complete(['--root', '/nosuch', 'stop', ''])).candidates).toEqual([])
  })

  it('the table of values names flags that are there', async () => {
    const commands = await Promise.all(ENTRIES.map((entry) => entry.load()))
    const flags = new Set(commands.flatMap((command) => command.flags.map(({ name }) => name)))
    for (const name of ['root', 'runroot', 'log-level']) flags.add(name)
    expect(Object.keys(FLAG_VALUES).filter((name) => !flags.has(name))).toEqual([])
  })
})

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish'])('prints a script that %s can read', (shell) => {
    const script = execFileSync('tscrun', ['completion', shell], { env, encoding: 'utf8' })
    const file = join(root, `script.${shell}`)
    writeFileSync(file, script)
    const { status, stderr } = spawnSync(shell, ['-n', file], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  it('completes in bash, which breaks words at = and :', () => {
    const script = `
source <(tscrun completion bash)
try() {
  COMP_LINE=$1 COMP_POINT=\${#1} COMP_WORDS=("\${@:2}") COMP_CWORD=$(($# - 2))
  _tscrun
  echo "\${COMPREPLY[*]}"
}
try 'tscrun stop w' tscrun stop w
try 'tscrun run --pull=al' tscrun run --pull = al
try 'tscrun run --pull=' tscrun run --pull =
try 'tscrun run --network container:w' tscrun run --network container : w
try 'tscrun run --network=container:wo' tscrun run --network = container : wo
try 'tscrun stop ' tscrun stop ''
try 'tscrun run -e "A=b c" al' tscrun run -e '"A=b c"' al
complete -p tscrun`
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { env, encoding: 'utf8' })
    expect({ lines: stdout.trim().split('\n'), stderr }).toEqual({
      lines: [
        'web worker',
        'always',
        'missing always never newer',
        'web worker',
        'worker',
        'web worker',
        'alpine:3',
        'complete -F _tscrun tscrun',
      ],
      stderr: '',
    })
  })

  it('completes in fish, with what each word is about', () => {
    const lines = ['stop w', 'run --pull=al', 'run --network container:we', `run --env-file=${PROJECT}packa`]
    const script = [
      'source (tscrun completion fish | psub)',
      ...lines.map((line) => `complete -C ${JSON.stringify(`tscrun ${line}`)}`),
    ]
    const { stdout } = spawnSync('fish', ['--no-config', '-c', script.join('\n')], { env, encoding: 'utf8' })
    expect(stdout.trim().split('\n').slice(0, 4)).toEqual([
      'web\tcontainer',
      'worker\tcontainer',
      '--pull=always',
      'container:web\tcontainer',
    ])
    expect(stdout).toContain(`--env-file=${PROJECT}package.json`)
  })

  it('completes in zsh at the press of the key', async () => {
    const setup = join(root, 'zshrc')
    writeFileSync(
      setup,
      `PS1='> '; autoload -Uz compinit; compinit -u -d ${root}/zcompdump; source <(tscrun completion zsh); echo set up\n`,
    )
    const program = [
      'env',
      `PATH=${env['PATH']}`,
      `TSCRUN_ROOT=${root}`,
      'TSCRUN_CONFIG=',
      'TERM=dumb',
      'zsh',
      '-f',
      '-i',
    ]
    const pty = openPty(program, { rows: 24, columns: 80 })
    try {
      pty.type(`source ${setup}\n`)
      await until(() => pty.output().includes('set up\r\n') || undefined)
      for (const [typed, completed] of [
        ['run --pull=al', 'run --pull=always '],
        ['stop wo', 'stop worker '],
        ['run --network container:we', 'run --network container:web '],
      ]) {
        pty.type(`tscrun ${typed}\t`)
        await until(() => pty.output().includes(`tscrun ${completed}`) || undefined)
        pty.type('\x15')
      }
      pty.type('exit\n')
      expect(await pty.ended).toBe(0)
    } finally {
      pty.close()
    }
  })

  it('names the shells it knows', () => {
    const { status, stderr } = spawnSync('tscrun', ['completion', 'tcsh'], { env, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: 'tscrun: completion tcsh: unknown shell (bash, zsh, fish)\n',
    })
  })
})
