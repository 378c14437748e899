import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine, TSCRUN, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

describe('the exit code', () => {
  it.each([0, 1, 7, 125, 126, 127, 200, 255])('%i of the command is handed on', async (code) => {
    const { exitCode, stderr } = await machine.run([], ['sh', '-c', `exit ${code}`])
    expect({ exitCode, stderr }).toEqual({ exitCode: code, stderr: '' })
  })

  it.each([
    ['KILL', 137],
    ['SEGV', 139],
    ['ABRT', 134],
  ])('is 128 + n where SIG%s ends the process', async (signal, code) => {
    // Process 1 of a namespace takes only SIGKILL of itself, so a child with a reaper above it.
    const { exitCode } = await machine.run(['--init'], ['sh', '-c', `kill -${signal} $$`])
    expect(exitCode).toBe(code)
  })

  it('is 127 where the command is not there, 126 where it cannot be run', async () => {
    const cases: [string, number, RegExp][] = [
      ['absent', 127, /^tscrun: exec "absent": executable file not found in \$PATH/],
      ['/bin/absent', 127, /^tscrun: exec "\/bin\/absent": no such file or directory/],
      ['/bin/busybox/x', 127, /^tscrun: exec "\/bin\/busybox\/x"/],
      ['/bin/no-interpreter', 127, /^tscrun: exec "\/bin\/no-interpreter": no such file/],
      ['/bin/not-executable', 126, /^tscrun: exec "\/bin\/not-executable": permission denied \(EACCES\)/],
      ['/etc', 126, /^tscrun: exec "\/etc": permission denied/],
      ['/bin/garbage', 126, /^tscrun: exec "\/bin\/garbage": .*\(ENOEXEC\)/],
    ]
    for (const [command, code, words] of cases) {
      const { exitCode, stderr, stdout } = await machine.run([], [command])
      expect({ command, exitCode, stdout }).toEqual({ command, exitCode: code, stdout: '' })
      expectOneLine(stderr, words)
    }
  })
})

describe('the standard streams', () => {
  it('stay apart', async () => {
    const { stdout, stderr } = await machine.run([], ['sh', '-c', 'echo out; echo err >&2; echo out2'])
    expect([stdout, stderr]).toEqual(['out\nout2\n', 'err\n'])
  })

  it('are read with -i', async () => {
    const { stdout } = await machine.run(['-i'], ['sh', '-c', 'read line; echo "$line"; cat'], {
      input: 'first\nsecond\nthird',
      stdin: 'pipe',
    })
    expect(stdout).toBe('first\nsecond\nthird')
  })

  it('are empty without -i, even where the caller has something to say', async () => {
    const { stdout, exitCode } = await machine.run([], ['sh', '-c', 'readlink /proc/self/fd/0; wc -c'], {
      input: 'ignored',
      stdin: 'pipe',
    })
    expect({ stdout, exitCode }).toEqual({ stdout: '/dev/null\n0\n', exitCode: 0 })
  })

  it('take a file and an empty input', async () => {
    const path = join(machine.directory, 'input')
    writeFileSync(path, 'from a file')
    expect((await machine.run(['-i'], ['cat'], { stdin: { file: path } })).stdout).toBe('from a file')
    expect((await machine.run(['-i'], ['wc', '-c'], { stdin: 'ignore' })).stdout).toBe('0\n')
  })

  it('keep a large output whole and in order', async () => {
    const { stdout, exitCode } = await machine.run([], ['probe', 'count', '50'], { encoding: 'buffer' })
    const bytes = stdout as unknown as Uint8Array
    expect({ exitCode, length: bytes.length }).toEqual({ exitCode: 0, length: 50 * 65536 * 16 })
    const text = Buffer.from(bytes).toString('latin1')
    for (let line = 0; line < 50 * 65536; line += 997) expect(Number(text.slice(line * 16, line * 16 + 15))).toBe(line)
  })

  it('keep a large input whole', async () => {
    const input = Buffer.alloc(20_000_000, 'abcdefghij\n')
    const { stdout } = await machine.run(['-i'], ['sh', '-c', 'md5sum'], { input, stdin: 'pipe' })
    const { stdout: expected } = await execa('md5sum', { input })
    expect(stdout).toBe(`${expected}\n`)
  })

  it('write into files that the caller opened, at their place', async () => {
    const path = join(machine.directory, 'output')
    writeFileSync(path, 'before\n')
    const fd = openSync(path, 'a')
    const flags = [
      '--root',
      machine.store,
      '--runroot',
      machine.runRoot,
      'run',
      '--rm',
      '--rootfs',
      `${machine.rootfs}:O`,
    ]
    const { status } = spawnSync(TSCRUN, [...flags, 'sh', '-c', 'echo out; echo err >&2'], {
      stdio: ['ignore', fd, fd],
    })
    closeSync(fd)
    expect(status).toBe(0)
    expect(readFileSync(path, 'utf8').split('\n').toSorted()).toEqual(['', 'before', 'err', 'out'])
    // The caller's own file keeps its owner.
    expect((await execa('stat', ['-c', '%u:%g', path])).stdout).toBe('0:0')
  })

  it('end the command where nobody reads any more, as between two programs', async () => {
    const command = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} run --rm --rootfs ${machine.rootfs}:O yes; echo "ended $?" >&2`
    const { stdout, stderr } = await execa('sh', ['-c', `{ ${command}; } | head -n 1`], { reject: false })
    expect(stdout).toBe('y')
    expect(stderr).toMatch(/ended 1$/)
  })

  it.each(['stdout', 'stderr'])('are told of where the %s of the caller takes no more, and why', async (stream) => {
    const [said, closed] = stream === 'stdout' ? ['echo lost', '>/dev/full'] : ['echo lost >&2', '2>/dev/full']
    const run = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} run --rm --rootfs ${machine.rootfs}:O`
    const { exitCode, stdout, stderr } = await execa('sh', ['-c', `${run} sh -c '${said}' ${closed}`], {
      reject: false,
    })
    const message = 'tscrun: write standard output: ENOSPC (free some space where it is written to)'
    // A full standard error cannot tell; the exit code does.
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 125,
      stdout: '',
      stderr: stream === 'stdout' ? message : '',
    })
  })

  it('deliver what the command wrote before it was killed', async () => {
    const { stdout, exitCode } = await machine.run(['--init'], ['sh', '-c', 'echo last words; kill -9 $$'])
    expect({ stdout, exitCode }).toEqual({ stdout: 'last words\n', exitCode: 137 })
  })

  it.each([[[]], [['--user', '1000']], [['--user', 'nobody', '-i']]])(
    'can be opened again by name as %j',
    async (flags) => {
      const { stdout, stderr, exitCode } = await machine.run(
        flags,
        ['sh', '-c', 'echo out > /dev/stdout; echo err > /dev/stderr; echo again >> /proc/self/fd/1'],
        { stdin: 'pipe', input: '' },
      )
      expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'out\nagain\n', stderr: 'err\n', exitCode: 0 })
    },
  )
})

describe('--timeout', () => {
  it('kills the container when its time is over', async () => {
    const command = ['run', '--timeout', '1', '--name', 'late', '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000']
    expect((await machine.tscrun(command)).exitCode).toBe(255)
    const state = ['inspect', '-f', '{{.State.ExitCode}} {{.State.Signal}} {{.State.TimedOut}}', 'late']
    expect((await machine.tscrun(state)).stdout).toBe('255 SIGKILL true\n')
    const died = ['events', '--stream=false', '--filter', 'event=die', '--format', '{{json .Actor.Attributes}}']
    expect(JSON.parse((await machine.tscrun(died)).stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      name: 'late',
      exitCode: '255',
      timedOut: 'true',
    })
    await machine.tscrun(['rm', 'late'])
  })
})

describe('--init', () => {
  it('is process 1, and the command is not', async () => {
    expect(await machine.sh('cat /proc/1/comm; echo $$', ['--init'])).toBe('init\n2')
  })

  it('collects orphans', async () => {
    expect(await machine.sh('probe orphan', ['--init'])).toBe('reaped')
  })

  it('hands signals on, and the exit code back', async () => {
    const subprocess = machine.run(['--init'], ['probe', 'signals'])
    const seen: string[] = []
    subprocess.stdout.on('data', (chunk: Buffer) => seen.push(String(chunk)))
    await until(() => seen.join('').includes('ready'))
    subprocess.kill('SIGUSR1')
    await until(() => seen.join('').includes('signal 10'))
    subprocess.kill('SIGTERM')
    expect((await subprocess).exitCode).toBe(3)
  })
})

describe('signals to the command line', () => {
  it.each([
    ['SIGINT', 2],
    ['SIGHUP', 1],
    ['SIGUSR1', 10],
    ['SIGUSR2', 12],
    ['SIGQUIT', 3],
  ] as const)('%s reaches the container', async (signal, number) => {
    const subprocess = machine.run([], ['probe', 'signals'])
    const seen: string[] = []
    subprocess.stdout.on('data', (chunk: Buffer) => seen.push(String(chunk)))
    await until(() => seen.join('').includes('ready'))
    subprocess.kill(signal)
    await until(() => seen.join('').includes(`signal ${number}\n`))
    subprocess.kill('SIGTERM')
    expect((await subprocess).exitCode).toBe(3)
    expect(seen.join('')).toContain('signal 15\n')
  })
})
