import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { filesystemOf } from '../../src/overlayfs/support.ts'
import { expectNothingLeft, expectOneLine, useMachine, PROJECT, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

describe("the machine's own root", () => {
  it('is a container with one command and nothing but the checkout', async () => {
    const { stdout, exitCode, stderr } = await execa(
      TSCRUN,
      [
        '--root',
        machine.store,
        '--runroot',
        machine.runRoot,
        'run',
        '--rm',
        '--rootfs',
        '/:O',
        'sh',
        '-c',
        'id -u; hostname; ps -o pid=',
      ],
      { reject: false, cwd: '/' },
    )
    // Where this machine is a container itself, its root is an overlay, whose owners cannot be shifted: said once.
    const warned =
      /^tscrun: warning: root in the container is root of the host: the filesystem of \/ \(overlay\) [^\n]*$/
    const said = filesystemOf('/') === 'overlay' ? expect.stringMatching(warned) : ''
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: said })
    expect(stdout).toMatch(/^0\n[0-9a-f]{12}\n\s+1\n\s+\d+$/)
  })

  it('is not changed by what the container writes', async () => {
    const { exitCode } = await machine.tscrun([
      'run',
      '--rm',
      '--rootfs',
      '/:O',
      'sh',
      '-c',
      'echo x > /tscrun-was-here && rm /etc/passwd && test -e /tscrun-was-here && ! test -e /etc/passwd',
    ])
    expect(exitCode).toBe(0)
    expect([existsSync('/tscrun-was-here'), existsSync('/etc/passwd')]).toEqual([false, true])
  })
})

describe('--rootfs DIR without :O', () => {
  it("is the directory itself: what root of the container writes there is root's on the host", async () => {
    const { exitCode, stderr } = await machine.tscrun([
      'run',
      '--rm',
      '--rootfs',
      machine.rootfs,
      'sh',
      '-c',
      'echo hello > /var/made; stat -c "%u" /var/made',
    ])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(readFileSync(join(machine.rootfs, 'var/made'), 'utf8')).toBe('hello\n')
    expect(await machine.sh('stat -c "%u %g" /var/made')).toBe('0 0')
  })
})

describe('the environment', () => {
  it('has what every container has', async () => {
    const env = (await machine.sh('env', ['--hostname', 'box']))
      .split('\n')
      .filter((line) => !line.startsWith('PWD=') && !line.startsWith('SHLVL='))
    expect(env.toSorted()).toEqual([
      'HOME=/root',
      'HOSTNAME=box',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ])
  })

  it("has nothing of the caller's", async () => {
    const text = await machine.sh('env', [], { env: { SECRET: 'x', NODE_OPTIONS: '', LD_PRELOAD: '' } })
    expect(text).not.toMatch(/SECRET|NODE_|LD_/)
  })

  it("takes --env, a name of the caller's, and --env-file; the last word wins", async () => {
    const path = join(machine.directory, 'env-file')
    writeFileSync(path, '# a comment\nFROM_FILE=file value\nBOTH=file\n')
    const flags = [
      '--env-file',
      path,
      '-e',
      'BOTH=flag',
      '--env=EMPTY=',
      '-eTAKEN',
      '-e',
      'EQUALS=a=b',
      '-e',
      'ABSENT_HERE',
    ]
    const text = await machine.sh('env', flags, { env: { TAKEN: 'from the caller' } })
    expect(text.split('\n')).toEqual(
      expect.arrayContaining(['FROM_FILE=file value', 'BOTH=flag', 'EMPTY=', 'TAKEN=from the caller', 'EQUALS=a=b']),
    )
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
    expect(await machine.sh('pwd; stat -c "%u %a" .', ['-w', '/made/deep/down', '--user', '0'])).toBe(
      '/made/deep/down\n0 755',
    )
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
    expect(await machine.sh('hostname; cat /etc/hostname; echo $HOSTNAME', ['--hostname', 'web.example'])).toBe(
      'web.example\nweb.example\nweb.example',
    )
  })

  it('/etc/hosts knows itself, localhost and --add-host', async () => {
    const text = await machine.sh('cat /etc/hosts', [
      '--hostname',
      'web',
      '--name',
      'front',
      '--add-host',
      'db:10.0.0.7',
      '--add-host',
      'six:fd00::1',
    ])
    expect(text).toMatch(/^127\.0\.0\.1\s+localhost/m)
    expect(text).toMatch(/^\S+ web front$/m)
    expect(text).toMatch(/^10\.0\.0\.7 db$/m)
    expect(text).toMatch(/^fd00::1 six$/m)
  })

  it('/etc/resolv.conf takes --dns, --dns-search and --dns-option', async () => {
    expect(
      await machine.sh('cat /etc/resolv.conf', [
        '--dns',
        '9.9.9.9',
        '--dns',
        '1.1.1.1',
        '--dns-search',
        'example.org',
        '--dns-option',
        'ndots:2',
      ]),
    ).toBe('nameserver 9.9.9.9\nnameserver 1.1.1.1\nsearch example.org\noptions ndots:2')
  })

  it('the three files can be written by root of the container, and are its own', async () => {
    expect(
      await machine.sh(
        'echo "1.2.3.4 x" >> /etc/hosts && echo ok; stat -c %u /etc/hosts /etc/hostname /etc/resolv.conf',
      ),
    ).toBe('ok\n0\n0\n0')
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
    const { exitCode } = await machine.tscrun([
      'run',
      '--name',
      'kept',
      '--rootfs',
      machine.rootfs,
      'sh',
      '-c',
      'exit 4',
    ])
    expect(exitCode).toBe(4)
    expect((await machine.tscrun(['ps', '-a', '--format', '{{.Names}} {{.State}}'])).stdout).toMatch(
      /^kept (exited|stopped)\n$/,
    )
    expect((await machine.tscrun(['rm', 'kept'])).exitCode).toBe(0)
  })
})

describe('--dry-run', () => {
  it('prints the plan and touches nothing', async () => {
    const other = join(machine.directory, 'untouched')
    const { exitCode, stdout } = await execa(
      TSCRUN,
      [
        '--root',
        join(other, 'root'),
        '--runroot',
        join(other, 'run'),
        'run',
        '--dry-run',
        '--rootfs',
        `${machine.rootfs}:O`,
        'sh',
      ],
      { reject: false },
    )
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^clone flags=NEWNS\|NEWUTS\|NEWIPC\|NEWUSER\|NEWPID\|NEWNET cgroup=/m)
    expect(stdout).toMatch(/^ {4}exec command=sh args=\[sh\]/m)
    expect(existsSync(other)).toBe(false)
  })
})

describe('the command line in the checkout', () => {
  it('needs no PATH and no place', async () => {
    const { exitCode, stdout } = await execa(
      join(PROJECT, 'bin/tscrun'),
      [
        '--root',
        machine.store,
        '--runroot',
        machine.runRoot,
        'run',
        '--rm',
        '--network',
        'none',
        '--rootfs',
        `${machine.rootfs}:O`,
        'echo',
        'hi',
      ],
      { extendEnv: false, env: { TSCRUN_NODE: process.execPath, TSCRUN_NETWORK: 'none' }, cwd: '/', reject: false },
    )
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'hi' })
  })
})
