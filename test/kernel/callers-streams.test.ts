import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, expectOneLine, useMachine, TSCRUN, until } from './fixtures/machine.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { out, pidIn, ended, inspected } = backgroundOf(() => machine)

/** A command whose output goes into two files, and whose input is one. */
async function redirected(
  args: readonly string[],
  input = '',
): Promise<{ readonly out: string; readonly err: string }> {
  const [from = '', to = '', errors = ''] = ['in', 'out', 'err'].map((name) => join(machine.directory, name))
  writeFileSync(from, input)
  const words = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, ...args]
  const shell = ['-c', 'exec "$@" < "$0/in" > "$0/out" 2> "$0/err"', machine.directory, ...words]
  const { exitCode } = await execa('sh', shell, { reject: false, stdio: 'ignore' })
  expect({ exitCode, errors: readFileSync(errors, 'utf8') }).toMatchObject({ exitCode: 0 })
  return { out: to, err: errors }
}

function command(script: string, flags: readonly string[]): string[] {
  return ['run', '--log-driver', 'passthrough', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script]
}

describe('--log-driver passthrough', () => {
  it("gives a detached container the caller's own descriptors, and keeps no log", async () => {
    const files = await redirected(
      command('cat; echo to-out; echo to-err >&2; exec sleep 1000', ['-d', '--name', 'given']),
      'typed\n',
    )
    const pid = await pidIn('given')
    for (const [fd, path] of [
      [1, files.out],
      [2, files.err],
    ] as const) {
      expect(statSync(`/proc/${pid}/fd/${fd}`).ino).toBe(statSync(path).ino)
    }
    const written = await until(() => {
      const text = readFileSync(files.out, 'utf8')
      return text.length > 64 && text.includes('to-out\n') && text
    })
    // The id is the command's own line.
    expect(written.replace(/^[0-9a-f]{64}\n/m, '')).toBe('typed\nto-out\n')
    await until(() => readFileSync(files.err, 'utf8') === 'to-err\n')
    expectOneLine((await machine.tscrun(['logs', 'given'])).stderr, /^tscrun: logs given: its output goes to whoever/)
    expectOneLine(
      (await machine.tscrun(['attach', 'given'])).stderr,
      /^tscrun: attach given: its streams are its starter/,
    )
  })

  it('keeps them for the lives that the restart policy and an update give it', async () => {
    const flags = ['-d', '--name', 'again', '--restart', 'on-failure:1']
    const files = await redirected(command('echo life; exec sleep 1000', flags))
    await out('update', '--restart', 'on-failure:2', 'again')
    const state = join(machine.runRoot, machine.containers()[0] ?? '', 'state.json')
    const nextLife = (last: number): Promise<number> =>
      until(() => {
        const pid = existsSync(state) ? (JSON.parse(readFileSync(state, 'utf8')) as { pid: number }).pid : last
        return pid !== last && pid
      })
    for (let pid = await nextLife(0), life = 1; life < 3; life++) {
      process.kill(pid, 'SIGKILL')
      pid = await nextLife(pid)
    }
    expect(await until(() => readFileSync(files.out, 'utf8').match(/(?:life\n[^l]*){3}/))).toBeTruthy()
  })

  it('gives each start the streams of its own command', async () => {
    await redirected(command('echo once', ['-d', '--name', 'twice']))
    await ended('twice')
    const files = await redirected(['start', 'twice'])
    await ended('twice')
    expect(readFileSync(files.out, 'utf8').split('\n').toSorted()).toEqual(['', 'once', 'twice'])
  })

  it('copies nothing in the foreground either; a pipe may be opened anew, a file of the host not', async () => {
    const script = 'stat -L -c %i /proc/self/fd/1; echo err > /dev/stderr; (echo x > /dev/stdout) 2> /dev/null; exit 4'
    const file = join(machine.directory, 'given')
    const words = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, ...command(script, ['--rm'])]
    // A pipe of a shell's: those of Node are sockets.
    const shell = ['-c', '{ "$@" 2>&1 > "$0"; echo $? >&2; } 2> "$0.code" | cat', file, ...words]
    const { stdout } = await execa('sh', shell, { stdin: 'ignore', stripFinalNewline: false })
    expect(stdout).toBe('err\n')
    expect(readFileSync(`${file}.code`, 'utf8')).toBe('4\n')
    expect(readFileSync(file, 'utf8')).toBe(`${statSync(file).ino}\n`)
  })

  it('never hands on a terminal, into which a container could type', async () => {
    const pty = openPty(
      [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, ...command('true', ['-d', '--name', 'typed'])],
      { rows: 24, columns: 200 },
    )
    try {
      await until(() => pty.output().includes('\n'))
      expectOneLine(pty.output(), /^tscrun: run --log-driver passthrough: standard input is a terminal/)
    } finally {
      pty.close()
    }
    const made = machine.tscrun(['create', '-t', ...command('true', []).slice(1)])
    expectOneLine((await made).stderr, /^tscrun: .*--log-driver passthrough: not with --tty/)
  })
})

describe('run --detach-keys', () => {
  it('leaves a container that was begun in the foreground, and attach finds it again', async () => {
    const flags = ['--root', machine.store, '--runroot', machine.runRoot]
    const command = [
      'run',
      '-it',
      '--rm',
      '--name',
      'left',
      '--detach-keys',
      'ctrl-x,q',
      '--rootfs',
      `${machine.rootfs}:O`,
    ]
    const script = 'stty size; read one; echo "<$one>"; read two; exit 7'
    const pty = openPty([TSCRUN, ...flags, ...command, 'sh', '-c', script], { rows: 31, columns: 97 })
    try {
      await until(() => pty.output().includes('31 97'))
      pty.type('\x18')
      pty.type('q')
      expect(await pty.ended).toBe(0)
    } finally {
      pty.close()
    }
    expect(await inspected('left', '{{.State.Status}}')).toBe('running')
    const again = openPty([TSCRUN, ...flags, 'attach', 'left'], { rows: 31, columns: 97 })
    try {
      again.type('one\n')
      await until(() => again.output().includes('<one>'))
      again.type('two\n')
      expect(await again.ended).toBe(7)
    } finally {
      again.close()
    }
  })
})
