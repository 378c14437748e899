import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, isAlive, useMachine, pidOf, TSCRUN, until } from './fixtures/machine.ts'
import { openPty, type Pty } from './fixtures/pty.ts'

const machine = useMachine()
const open: Pty[] = []
afterEach(async () => {
  for (const pty of open.splice(0)) {
    pty.child.kill('SIGKILL')
    await pty.ended
    pty.close()
  }
  await machine.tscrun(['ps', '-a'])
  expectNothingLeft(machine)
})

let count = 0
function start(flags: readonly string[], command: readonly string[]): Pty {
  const line = [
    TSCRUN,
    '--root',
    machine.store,
    '--runroot',
    machine.runRoot,
    'run',
    '--rm',
    '--name',
    `terminal${count++}`,
    ...flags,
    '--rootfs',
    `${machine.rootfs}:O`,
    ...command,
  ]
  const pty = openPty(line, { rows: 31, columns: 97 })
  open.push(pty)
  return pty
}

const sees = (pty: Pty, text: string | RegExp): Promise<unknown> =>
  until(() => (typeof text === 'string' ? pty.output().includes(text) : text.test(pty.output())))

describe('-it', () => {
  it('gives the container a terminal of its own: /dev/console, controlling, of the same size', async () => {
    const pty = start(
      ['-it'],
      [
        'sh',
        '-c',
        'tty; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; readlink /proc/self/fd/0; echo via-tty > /dev/tty; stat -c "%u %t" /dev/console; echo $TERM',
      ],
    )
    expect(await pty.ended).toBe(0)
    expect(pty.output().split('\r\n')).toEqual([
      '/dev/pts/0',
      'all',
      '31 97',
      '/dev/pts/0',
      'via-tty',
      '0 88',
      'xterm',
      '',
    ])
  })

  it('is one for an ordinary user too, who owns it', async () => {
    const pty = start(
      ['-it', '--user', 'alice'],
      ['sh', '-c', 'stat -c %U /dev/pts/0; echo again > /dev/stdout; echo again > /dev/tty'],
    )
    expect(await pty.ended).toBe(0)
    expect(pty.output()).toBe('alice\r\nagain\r\nagain\r\n')
  })

  it('works with --init: the command has the terminal and job control', async () => {
    const pty = start(
      ['-it', '--init'],
      [
        'sh',
        '-c',
        'tty; echo in > /dev/tty; ps -o pid,tpgid 2>/dev/null | head -1 > /dev/null; cut -d" " -f6,8 /proc/self/stat',
      ],
    )
    expect(await pty.ended).toBe(0)
    expect(pty.output()).toMatch(/^\/dev\/pts\/0\r\nin\r\n(\d+) \d+\r\n$/)
  })

  it('hands typed text on, echoed once, by the terminal inside', async () => {
    const pty = start(['-it'], ['sh', '-c', 'echo ready; read line; echo "got $line"'])
    await sees(pty, 'ready')
    pty.type('hello\r')
    expect(await pty.ended).toBe(0)
    expect(pty.output()).toBe('ready\r\nhello\r\ngot hello\r\n')
  })

  it('has its size before the command runs: it is told of no change', async () => {
    const script = 'trap "echo changed" WINCH; stty size; sleep 0.2; echo end'
    const pty = start(['-it'], ['sh', '-c', script])
    expect(await pty.ended).toBe(0)
    await sees(pty, 'end')
    expect(pty.output()).toBe('31 97\r\nend\r\n')
  })

  it('follows the size of the window', async () => {
    const pty = start(['-it'], ['sh', '-c', 'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done'])
    await sees(pty, 'ready')
    pty.resize(50, 120)
    await sees(pty, '50 120')
    pty.resize(10, 20)
    await sees(pty, '10 20')
    expect(pty.output()).toMatch(/^ready\r\n(50 120\r\n)+(10 20\r\n)+$/)
  })

  it('hands Ctrl-C to the container, not to the command line', async () => {
    const pty = start(
      ['-it'],
      ['sh', '-c', 'trap "echo interrupted; exit 9" INT; echo ready; while :; do sleep 0.05; done'],
    )
    await sees(pty, 'ready')
    pty.type('\x03')
    expect(await pty.ended).toBe(9)
    await sees(pty, 'interrupted')
  })

  it('ends by Ctrl-D at the prompt of a shell', async () => {
    const pty = start(['-it'], ['sh'])
    await sees(pty, '# ')
    pty.type('echo $((6*7))\r')
    // At the prompt: between two the shell changes the terminal's mode, and the key would be lost.
    await sees(pty, /\n42\r\n.*# /)
    pty.type('\x04')
    expect(await pty.ended).toBe(0)
  })

  it('keeps a large output whole', async () => {
    const pty = start(['-it'], ['probe', 'count', '1'])
    expect(await pty.ended).toBe(0)
    await until(() => pty.output().length >= 65536 * 17)
    const lines = pty.output().split('\r\n')
    for (let line = 0; line < 65536; line += 131) expect(Number(lines[line])).toBe(line)
  })
})

describe("the caller's terminal", () => {
  it('is raw while the container runs and as before afterwards', async () => {
    const pty = start(['-it'], ['sh', '-c', 'echo ready; read line; exit 3'])
    const before = pty.settings()
    expect(before).toMatch(/[^-]icanon/)
    await sees(pty, 'ready')
    expect(pty.settings()).toMatch(/-icanon.*-echo |-echo .*-icanon/s)
    pty.type('\r')
    expect(await pty.ended).toBe(3)
    expect(pty.settings()).toBe(before)
  })

  it('is as before after a command that is not there', async () => {
    const pty = start(['-it'], ['absent'])
    const before = pty.settings()
    expect(await pty.ended).toBe(127)
    expect(pty.settings()).toBe(before)
    expectOneLine(pty.output().replaceAll('\r', ''), /^tscrun: exec "absent": executable file not found/)
  })

  it('is as before after SIGKILL of the command line, and the container is gone', async () => {
    const pty = start(['-it'], ['sh', '-c', 'echo ready; exec sleep 1091'])
    const before = pty.settings()
    await sees(pty, 'ready')
    const inside = await until(() => pidOf('sleep 1091'))
    pty.child.kill('SIGKILL')
    await pty.ended
    await until(() => !isAlive(inside))
    expect(await until(() => pty.settings() === before)).toBe(true)
  })

  it('is as before after SIGKILL of the monitor', async () => {
    const pty = start(['-it'], ['sh', '-c', 'echo ready; exec sleep 1092'])
    await sees(pty, 'ready')
    const raw = pty.settings()
    const monitor = await until(() => pidOf(`tscrun: terminal${count - 1}`))
    process.kill(monitor, 'SIGKILL')
    expect(await pty.ended).toBe(125)
    const after = pty.settings()
    expect(after).not.toBe(raw)
    const fresh = openPty(['true'], { rows: 31, columns: 97 })
    open.push(fresh)
    expect(after).toBe(fresh.settings())
  })

  it('is as before after SIGTERM', async () => {
    const pty = start(['-it'], ['sh', '-c', 'trap "exit 4" TERM; echo ready; while :; do sleep 0.05; done'])
    const before = pty.settings()
    await sees(pty, 'ready')
    pty.child.kill('SIGTERM')
    expect(await pty.ended).toBe(4)
    expect(pty.settings()).toBe(before)
  })
})

describe('-t', () => {
  it.each([[['-t']], [['-it']]])('is refused without a terminal: %j', async (flags) => {
    const { exitCode, stderr, stdout } = await machine.run(flags, ['true'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
    expectOneLine(stderr, /^tscrun: --tty: standard (input|output) is not a terminal/)
  })

  it('alone gives a terminal of the same size, and what is typed stays with the caller', async () => {
    const pty = start(
      ['-t'],
      ['sh', '-c', 'test -t 1 && echo terminal; stty size; trap "stty size; exit" WINCH; while :; do sleep 0.05; done'],
    )
    await sees(pty, /^terminal\r+\n31 97\r+\n/)
    expect(pty.settings()).toMatch(/[^-]icanon/)
    pty.resize(40, 80)
    expect(await pty.ended).toBe(0)
    expect(pty.output()).toMatch(/40 80/)
  })
})

describe('a container without -t', () => {
  it('has no terminal, although the caller has one', async () => {
    const pty = start(
      [],
      [
        'sh',
        '-c',
        'test -t 0 || test -t 1 || test -t 2 || echo none; ls /dev/pts; (echo > /dev/tty) 2>/dev/null || echo no tty',
      ],
    )
    expect(await pty.ended).toBe(0)
    expect(pty.output()).toMatch(/^none\r\nptmx\r\nno tty\r\n$/)
  })

  it('cannot type into the terminal of the caller (TIOCSTI): it has no descriptor of it', async () => {
    const pty = start(['-i'], ['sh', '-c', 'for n in 0 1 2; do readlink /proc/$$/fd/$n; done'])
    pty.type('\x04')
    expect(await pty.ended).toBe(0)
    expect(pty.output()).not.toContain('/dev/pts')
  })
})
