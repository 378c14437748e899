import { spawn, spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ENTRIES } from '../../src/cli/registry.ts'
import { VERSION } from '../../src/model/version.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let home = ''
let program = ''

/** The command line as a program, without an engine: whatever asks for one here fails as an internal error. */
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tscrun-cli-main-'))
  program = join(home, 'main.cjs')
  const build = await rolldown({
    input: { main: join(root, 'src/cli/main.ts') },
    cwd: root,
    platform: 'node',
    external: [/\/engine\/engine\.ts$/],
    onLog: (level, log, handle) => {
      if (level === 'warn') throw new Error(log.message)
      handle(level, log)
    },
  })
  await build.write({ dir: home, format: 'cjs', entryFileNames: '[name].cjs', chunkFileNames: '[name].cjs' })
  await build.close()
})

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
})

function tscrun(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--', program, ...argv], {
    encoding: 'utf8',
    cwd: home,
  })
  return { status, stdout, stderr }
}

const words = (line: string): string[] => line.split(' ').filter((word) => word !== '')

describe('tscrun', () => {
  it('has the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(VERSION).toBe(version)
    expect(tscrun('--version')).toEqual({ status: 0, stdout: `tscrun version ${version}\n`, stderr: '' })
    expect(tscrun('-v').stdout).toBe(`tscrun version ${version}\n`)
    expect(tscrun('version', '--format', '{{.Version}} {{.Node}}').stdout).toBe(`${version} ${process.version}\n`)
    expect(tscrun('version').stdout).toMatch(/^Version: +\d.*\nNode: +v\d.*\nOS\/Arch: +linux\/\w+\nKernel: +\d.*\n$/)
  })

  it.each(['', '--help', '-h', 'help'])('%s prints the commands', (line) => {
    const { status, stdout, stderr } = tscrun(...words(line))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: {2}tscrun \[OPTIONS\] COMMAND\n/)
    const top = ENTRIES.filter(({ name }) => !name.includes(' '))
    for (const { name, summary } of top) expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'))
    expect(Math.max(...stdout.split('\n').map((text) => text.length))).toBeLessThanOrEqual(80)
  })

  it.each(ENTRIES.map(({ name }) => name))('%s --help, help %s and the aliases are one text', (name) => {
    const { status, stdout, stderr } = tscrun(...words(name), '--help')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: {2}tscrun ${name} \\[OPTIONS\\]`))
    expect(tscrun('help', ...words(name)).stdout).toBe(stdout)
    for (const alias of /^ {2}tscrun .*, (tscrun .*)$/m.exec(stdout)?.[1]?.split(', ') ?? []) {
      expect(tscrun(...words(alias).slice(1), '--help').stdout).toBe(stdout)
    }
  })

  it('tells its own --help from that of the command in the container', () => {
    expect(tscrun('run', '--rm', '--help', 'alpine').stdout).toContain('Usage:  tscrun run')
    expect(tscrun('run', 'alpine', '--help').stdout).toBe('')
    expect(tscrun('run', '-h', 'web', '--rm').stderr).toContain('run: the image is missing')
  })

  it.each(['image', 'container', 'image --help', 'help image'])('%s prints the commands of the group', (line) => {
    const { status, stdout } = tscrun(...words(line))
    expect(status).toBe(0)
    expect(stdout).toMatch(/^Usage: {2}tscrun (?:image|container) COMMAND\n[^]*\n {2}ls +List/)
  })
})

describe('what is typed wrong', () => {
  it.each([
    ['rnu', 'unknown command "rnu" (did you mean run?)'],
    ['xyz', 'unknown command "xyz" (see tscrun --help)'],
    ['imagse', 'unknown command "imagse" (did you mean images?)'],
    ['image lss', 'unknown command "image lss" (did you mean image ls?)'],
    ['help nosuch', 'unknown command "nosuch" (see tscrun --help)'],
    ['checkpoint x', 'checkpoint: not supported yet (tscrun --help lists what is)'],
    ['container checkpoint x', 'container checkpoint: not supported yet (tscrun container --help lists what is)'],
    ['--memory 64m', 'unknown flag --memory (see tscrun --help)'],
    ['-H x', '--host: not supported yet (there is no daemon to connect to)'],
    ['run --memroy 64m alpine', 'unknown flag --memroy (did you mean --memory?)'],
    ['run -itZ alpine', 'unknown flag -Z in -itZ (see tscrun run --help)'],
    ['run --gpus all alpine', '--gpus: not supported yet (name the device files with --device)'],
    ['run -ita alpine', '--attach: not supported yet (run attaches to all of its standard streams)'],
    ['run --name', '--name: needs a value: --name name (see tscrun run --help)'],
    ['run -e', '-e: needs a value: --env name[=value] (see tscrun run --help)'],
    ['run --rm=maybe alpine', '--rm maybe: neither true nor false (see tscrun run --help)'],
    ['run ---x alpine', '---x: not a flag (see tscrun run --help)'],
    ['run', 'run: the image is missing (usage: tscrun run [OPTIONS] IMAGE [COMMAND] [ARG...])'],
    [
      'run --memory 1 alpine',
      '--memory 1: too little for a process to start (bytes without a suffix; did you mean 1m?)',
    ],
    [
      'run --env-file nosuch alpine',
      'open nosuch: ENOENT (it is a file that a flag names, looked for in the current directory)',
    ],
    ['rm', 'rm: the container is missing (usage: tscrun rm [OPTIONS] CONTAINER [CONTAINER...])'],
    ['ps x', 'ps: takes no arguments (usage: tscrun ps [OPTIONS])'],
    ['images a b', 'images: takes at most 1 argument (usage: tscrun images [OPTIONS] [REPOSITORY[:TAG]])'],
    ['ps --filter x', '--filter x: not KEY=VALUE (e.g. status=exited)'],
    ['inspect --type network x', '--type network: not supported yet (container, image or volume)'],
    [
      'pull --platform bogus x',
      'platform "bogus": unknown operating system or architecture (for example linux/amd64 or linux/arm64/v8)',
    ],
    ['pull --platform windows/amd64 x', '--platform windows/amd64: only linux images can run here'],
    ['--log-level loud ps', '--log-level loud: unknown level (error, warn or debug)'],
    ['ps --root relative', '--root relative: must be an absolute path'],
  ])('%s', (line, message) => {
    expect(tscrun(...words(line))).toEqual({ status: 125, stdout: '', stderr: `tscrun: ${message}\n` })
  })

  it('and our own mistakes are one line too, with the stack for --debug', () => {
    const plain = tscrun('info')
    expect(plain.status).toBe(125)
    expect(plain.stderr).toMatch(/^tscrun: internal error: .*\(--debug shows where\)\n$/)
    for (const argv of [
      ['--debug', 'info'],
      ['info', '-D'],
      ['--log-level=debug', 'info'],
    ]) {
      expect(tscrun(...argv).stderr).toMatch(/^tscrun: internal error: .*\n[^]*\n {4}at /)
    }
  })

  it('-t without a terminal is refused before anything is done', () => {
    const refuse = (...flags: string[]) => tscrun('run', ...flags, 'alpine').stderr
    expect(refuse('-it')).toContain('--tty: standard input is not a terminal (leave -t out to pipe input')
    expect(refuse('-t')).toContain('--tty: standard output is not a terminal (leave -t out to pipe output')
  })

  it('-t is taken on a terminal', () => {
    // script(1) gives it one; then the engine is asked for, and there is none.
    const line = `${process.execPath} -- ${program} run -it alpine`
    const { stdout } = spawnSync('script', ['-qec', line, '/dev/null'], { encoding: 'utf8', input: '' })
    expect(stdout).toContain('tscrun: internal error')
  })
})

/** A pipe whose writing end does not block; the reading end is ours. */
function makePipe(): { read: number; write: number } {
  const path = join(home, `pipe-${process.hrtime.bigint()}`)
  expect(spawnSync('mkfifo', [path]).status).toBe(0)
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { read, write: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) }
}

describe('standard output', () => {
  it('that nobody reads any more ends the program quietly, as SIGPIPE ends others', () => {
    const { read, write } = makePipe()
    closeSync(read)
    const { status, stderr } = spawnSync(process.execPath, [program, '--help'], {
      stdio: ['ignore', write, 'pipe'],
      encoding: 'utf8',
    })
    closeSync(write)
    expect({ status, stderr }).toEqual({ status: 141, stderr: '' })
  })

  it('that is full and does not block gets everything in the end', async () => {
    const whole = tscrun('run', '--help').stdout
    const { read, write } = makePipe()
    // Leaves room for less than the help: the pipe holds 64 kB, in pages.
    const filler = Buffer.alloc(64 * 1024 - 4096)
    expect(writeSync(write, filler)).toBe(filler.length)
    const child = spawn(process.execPath, [program, 'run', '--help'], { stdio: ['ignore', write, 'inherit'] })
    closeSync(write)
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    // By now it is in the middle of its writing, or not there yet: both are well.
    await new Promise((resolve) => setTimeout(resolve, 100))
    const chunks: Buffer[] = []
    for (let done = false; !done; ) {
      const buffer = Buffer.alloc(1000)
      try {
        const count = readSync(read, buffer)
        done = count === 0
        chunks.push(buffer.subarray(0, count))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    closeSync(read)
    expect(await ended).toBe(0)
    expect(Buffer.concat(chunks).subarray(filler.length).toString()).toBe(whole)
  })
})
