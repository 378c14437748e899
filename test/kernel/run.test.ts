import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, makeMachine, PROJECT, TSCRUN, until, type Machine } from './fixtures/machine.ts'

let machine: Machine
beforeAll(() => {
  machine = makeMachine()
})
afterAll(() => machine.dispose())
afterEach(() => expectNothingLeft(machine))

describe("the machine's own root", () => {
  it('is a container with one command and nothing but the checkout', async () => {
    const { stdout, exitCode, stderr } = await execa(TSCRUN, ['--root', machine.store, '--runroot', machine.runRoot, 'run', '--rm', '--rootfs', '/:O', 'sh', '-c', 'id -u; hostname; ps -o pid='], { reject: false, cwd: '/' })
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toMatch(/^0\n[0-9a-f]{12}\n\s+1\n\s+\d+$/)
  })

  it('is not changed by what the container writes', async () => {
    const { exitCode } = await machine.tscrun(['run', '--rm', '--rootfs', '/:O', 'sh', '-c', 'echo x > /tscrun-was-here && rm /etc/passwd && test -e /tscrun-was-here && ! test -e /etc/passwd'])
    expect(exitCode).toBe(0)
    expect([existsSync('/tscrun-was-here'), existsSync('/etc/passwd')]).toEqual([false, true])
  })
})

describe('--rootfs DIR without :O', () => {
  it('is the directory itself: what root of the container writes there is root\'s on the host', async () => {
    const { exitCode, stderr } = await machine.tscrun(['run', '--rm', '--rootfs', machine.rootfs, 'sh', '-c', 'echo hello > /var/made; stat -c "%u" /var/made'])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(readFileSync(join(machine.rootfs, 'var/made'), 'utf8')).toBe('hello\n')
    expect(await machine.sh('stat -c "%u %g" /var/made')).toBe('0 0')
  })
})

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
    const { stdout } = await machine.run(['-i'], ['sh', '-c', 'read line; echo "$line"; cat'], { input: 'first\nsecond\nthird', stdin: 'pipe' })
    expect(stdout).toBe('first\nsecond\nthird')
  })

  it('are empty without -i, even where the caller has something to say', async () => {
    const { stdout, exitCode } = await machine.run([], ['sh', '-c', 'readlink /proc/self/fd/0; wc -c'], { input: 'ignored', stdin: 'pipe' })
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
    const flags = ['--root', machine.store, '--runroot', machine.runRoot, 'run', '--rm', '--rootfs', `${machine.rootfs}:O`]
    const { status } = spawnSync(TSCRUN, [...flags, 'sh', '-c', 'echo out; echo err >&2'], { stdio: ['ignore', fd, fd] })
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

  it('deliver what the command wrote before it was killed', async () => {
    const { stdout, exitCode } = await machine.run(['--init'], ['sh', '-c', 'echo last words; kill -9 $$'])
    expect({ stdout, exitCode }).toEqual({ stdout: 'last words\n', exitCode: 137 })
  })

  it.each([[[]], [['--user', '1000']], [['--user', 'nobody', '-i']]])('can be opened again by name as %j', async (flags) => {
    const { stdout, stderr, exitCode } = await machine.run(flags, ['sh', '-c', 'echo out > /dev/stdout; echo err > /dev/stderr; echo again >> /proc/self/fd/1'], { stdin: 'pipe', input: '' })
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'out\nagain\n', stderr: 'err\n', exitCode: 0 })
  })
})

describe('the environment', () => {
  it('has what every container has', async () => {
    const env = (await machine.sh('env', ['--hostname', 'box'])).split('\n').filter((line) => !line.startsWith('PWD=') && !line.startsWith('SHLVL='))
    expect(env.toSorted()).toEqual(['HOME=/root', 'HOSTNAME=box', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'])
  })

  it('has nothing of the caller\'s', async () => {
    const text = await machine.sh('env', [], { env: { SECRET: 'x', NODE_OPTIONS: '', LD_PRELOAD: '' } })
    expect(text).not.toMatch(/SECRET|NODE_|LD_/)
  })

  it('takes --env, a name of the caller\'s, and --env-file; the last word wins', async () => {
    const path = join(machine.directory, 'env-file')
    writeFileSync(path, '# a comment\nFROM_FILE=file value\nBOTH=file\n')
    const flags = ['--env-file', path, '-e', 'BOTH=flag', '--env=EMPTY=', '-eTAKEN', '-e', 'EQUALS=a=b', '-e', 'ABSENT_HERE']
    const text = await machine.sh('env', flags, { env: { TAKEN: 'from the caller' } })
    expect(text.split('\n')).toEqual(expect.arrayContaining(['FROM_FILE=file value', 'BOTH=flag', 'EMPTY=', 'TAKEN=from the caller', 'EQUALS=a=b']))
    expect(text).not.toContain('ABSENT_HERE')
  })

  it('hands many and large values over', async () => {
    const flags = Array.from({ length: 300 }, (_, index) => ['-e', `V${index}=${'x'.repeat(index)}`]).flat()
    const text = await machine.sh('env | grep ^V | wc -c; echo ${#V299}', flags)
    expect(text.split('\n')[1]).toBe('299')
  })

  it('searches the command in the PATH of the container', async () => {
    const { exitCode } = await machine.run(['-e', 'PATH=/nowhere'], ['sh'])
    expect(exitCode).toBe(127)
    expect((await machine.run(['-e', 'PATH=/nowhere:/bin'], ['sh', '-c', 'exit 5'])).exitCode).toBe(5)
  })
})

describe('the working directory', () => {
  it('is / unless given', async () => {
    expect(await machine.sh('pwd')).toBe('/')
    expect(await machine.sh('pwd', ['-w', '/home/alice'])).toBe('/home/alice')
  })

  it('is made where it is missing, owned by root of the container', async () => {
    expect(await machine.sh('pwd; stat -c "%u %a" .', ['-w', '/made/deep/down', '--user', '0'])).toBe('/made/deep/down\n0 755')
  })

  it('makes a relative command relative to it', async () => {
    const { exitCode } = await machine.run(['-w', '/bin'], ['./sh', '-c', 'exit 6'])
    expect(exitCode).toBe(6)
  })
})

describe('what is run', () => {
  it('is --entrypoint and then the words', async () => {
    expect((await machine.run(['--entrypoint', 'echo'], ['a', 'b'])).stdout).toBe('a b\n')
    expect((await machine.run(['--entrypoint', '["echo","-n","x"]'], ['y'])).stdout).toBe('x y')
  })

  it('gets its arguments byte by byte', async () => {
    const words = ['', ' ', '-x', 'ä€𐍈', '$HOME', '"\'', 'a\nb', '*']
    const { stdout } = await machine.run([], ['sh', '-c', 'for a; do printf "[%s]" "$a"; done', 'sh', ...words])
    expect(stdout).toBe(words.map((word) => `[${word}]`).join(''))
  })
})

describe('names and files of the network', () => {
  it('--hostname names it everywhere', async () => {
    expect(await machine.sh('hostname; cat /etc/hostname; echo $HOSTNAME', ['--hostname', 'web.example'])).toBe('web.example\nweb.example\nweb.example')
  })

  it('/etc/hosts knows itself, localhost and --add-host', async () => {
    const text = await machine.sh('cat /etc/hosts', ['--hostname', 'web', '--name', 'front', '--add-host', 'db:10.0.0.7', '--add-host', 'six:fd00::1'])
    expect(text).toMatch(/^127\.0\.0\.1\s+localhost/m)
    expect(text).toMatch(/^\S+ web front$/m)
    expect(text).toMatch(/^10\.0\.0\.7 db$/m)
    expect(text).toMatch(/^fd00::1 six$/m)
  })

  it('/etc/resolv.conf takes --dns, --dns-search and --dns-option', async () => {
    expect(await machine.sh('cat /etc/resolv.conf', ['--dns', '9.9.9.9', '--dns', '1.1.1.1', '--dns-search', 'example.org', '--dns-option', 'ndots:2'])).toBe(
      'nameserver 9.9.9.9\nnameserver 1.1.1.1\nsearch example.org\noptions ndots:2',
    )
  })

  it('the three files can be written by root of the container, and are its own', async () => {
    expect(await machine.sh('echo "1.2.3.4 x" >> /etc/hosts && echo ok; stat -c %u /etc/hosts /etc/hostname /etc/resolv.conf')).toBe('ok\n0\n0\n0')
    expect(await machine.sh('grep -c 1.2.3.4 /etc/hosts || true')).toBe('0')
  })

  it('a volume takes the place of one of them', async () => {
    const path = join(machine.directory, 'hosts')
    writeFileSync(path, 'mine\n')
    expect(await machine.sh('cat /etc/hosts', ['-v', `${path}:/etc/hosts:ro`])).toBe('mine')
  })
})

describe('--cidfile and --name', () => {
  it('tell the id, and refuse a file that exists without starting anything', async () => {
    const path = join(machine.directory, 'cid')
    expect((await machine.run(['--cidfile', path], ['true'])).exitCode).toBe(0)
    expect(readFileSync(path, 'utf8')).toMatch(/^[0-9a-f]{64}$/)
    const made = join(machine.directory, 'side-effect')
    mkdirSync(made)
    const again = await machine.run(['--cidfile', path, '-v', `${made}:/made`], ['touch', '/made/x'])
    expect(again.exitCode).toBe(125)
    expectOneLine(again.stderr, /^tscrun: --cidfile .*: the file exists/)
    expect(existsSync(join(made, 'x'))).toBe(false)
  })

  it('a name is taken as long as its container is there', async () => {
    const first = machine.run(['--name', 'one', '-i'], ['sh', '-c', 'echo up; read line'], { stdin: 'pipe' })
    await new Promise((resolve) => first.stdout.once('data', resolve))
    const second = await machine.run(['--name', 'one'], ['true'])
    expect(second.exitCode).toBe(125)
    expectOneLine(second.stderr, /^tscrun: name "one": it is in use by container [0-9a-f]{12}/)
    expect((await machine.tscrun(['ps', '--format', '{{.Names}}'])).stdout).toBe('one\n')
    first.stdin?.end('\n')
    expect((await first).exitCode).toBe(0)
    expect((await machine.run(['--name', 'one'], ['true'])).exitCode).toBe(0)
  })
})

describe('without --rm', () => {
  it('the container stays until it is removed, and keeps its name and what it wrote', async () => {
    const { exitCode } = await machine.tscrun(['run', '--name', 'kept', '--rootfs', machine.rootfs, 'sh', '-c', 'exit 4'])
    expect(exitCode).toBe(4)
    expect((await machine.tscrun(['ps', '-a', '--format', '{{.Names}} {{.State}}'])).stdout).toMatch(/^kept (exited|stopped)\n$/)
    expect((await machine.tscrun(['rm', 'kept'])).exitCode).toBe(0)
  })
})

describe('--dry-run', () => {
  it('prints the plan and touches nothing', async () => {
    const other = join(machine.directory, 'untouched')
    const { exitCode, stdout } = await execa(TSCRUN, ['--root', join(other, 'root'), '--runroot', join(other, 'run'), 'run', '--dry-run', '--rootfs', `${machine.rootfs}:O`, 'sh'], { reject: false })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^clone flags=0x7c020000/m)
    expect(stdout).toMatch(/^ {4}exec command=sh args=\[sh\]/m)
    expect(existsSync(other)).toBe(false)
  })
})

describe('--timeout', () => {
  it('kills the container when its time is over', async () => {
    const { exitCode } = await machine.run(['--timeout', '1'], ['sleep', '1000'])
    expect(exitCode).toBe(137)
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

describe('the command line in the checkout', () => {
  it('needs no PATH and no place', async () => {
    const { exitCode, stdout } = await execa(join(PROJECT, 'bin/tscrun'), ['--root', machine.store, '--runroot', machine.runRoot, 'run', '--rm', '--rootfs', `${machine.rootfs}:O`, 'echo', 'hi'], { extendEnv: false, env: { TSCRUN_NODE: process.execPath }, cwd: '/', reject: false })
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'hi' })
  })
})
