import { spawn } from 'node:child_process'
import { openSync, closeSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { expectNothingLeft, expectOneLine, useMachine, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

/** /proc/self/status of the container's first process, by key. */
async function status(flags: readonly string[] = []): Promise<Record<string, string>> {
  const { stdout, stderr, exitCode } = await machine.run(flags, ['cat', '/proc/self/status'])
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/:\s*/) as [string, string]),
  )
}

/** What `probe calls` says, by call. */
async function calls(flags: readonly string[] = []): Promise<Record<string, string>> {
  const text = await machine.sh('probe calls', flags)
  return Object.fromEntries(
    text.split('\n').map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  )
}

const DEFAULT = '00000000a80425fb'
const NONE = '0000000000000000'
const bit = (...names: string[]): bigint =>
  names.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n)
const hex = (mask: bigint): string => mask.toString(16).padStart(16, '0')

describe('capabilities', () => {
  it("are docker's fourteen, none of them inheritable or ambient", async () => {
    expect(await status()).toMatchObject({
      CapEff: DEFAULT,
      CapPrm: DEFAULT,
      CapBnd: DEFAULT,
      CapInh: NONE,
      CapAmb: NONE,
    })
  })

  it('of another user are none, but the bounding set stays for setuid programs', async () => {
    expect(await status(['--user', '1000'])).toMatchObject({
      CapEff: NONE,
      CapPrm: NONE,
      CapBnd: DEFAULT,
      CapInh: NONE,
      CapAmb: NONE,
    })
  })

  it('can be added and dropped by name, in either case, with or without CAP_', async () => {
    const { CapEff, CapBnd, CapInh } = await status([
      '--cap-add',
      'sys_admin',
      '--cap-add',
      'CAP_NET_ADMIN',
      '--cap-drop',
      'chown',
      '--cap-drop=MKNOD',
    ])
    const expected = (BigInt(`0x${DEFAULT}`) | bit('CAP_SYS_ADMIN', 'CAP_NET_ADMIN')) & ~bit('CAP_CHOWN', 'CAP_MKNOD')
    expect([CapEff, CapBnd, CapInh]).toEqual([hex(expected), hex(expected), NONE])
  })

  it('can be dropped all, and a few added again', async () => {
    expect(await status(['--cap-drop', 'all'])).toMatchObject({ CapEff: NONE, CapBnd: NONE })
    const kill = hex(bit('CAP_KILL'))
    expect(await status(['--cap-drop', 'ALL', '--cap-add', 'KILL'])).toMatchObject({
      CapEff: kill,
      CapPrm: kill,
      CapBnd: kill,
      CapInh: NONE,
    })
  })

  it('can be added all, which is all that the kernel has', async () => {
    const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'))
    expect(await status(['--cap-add', 'all'])).toMatchObject({
      CapEff: hex((1n << BigInt(last + 1)) - 1n),
      CapInh: NONE,
    })
  })

  it('that nobody knows are refused', async () => {
    const { exitCode, stderr } = await machine.run(['--cap-add', 'sys_admim'], ['true'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: .*sys_admim.*\n?.*SYS_ADMIN/i)
  })

  it('work: chown is done with CAP_CHOWN and refused without', async () => {
    expect(await machine.sh('touch /tmp/f; chown 1:1 /tmp/f && stat -c %u /tmp/f')).toBe('1')
    const { stderr, exitCode } = await machine.run(
      ['--cap-drop', 'chown'],
      ['sh', '-c', 'touch /tmp/f; chown 1:1 /tmp/f'],
    )
    expect(exitCode).toBe(1)
    expect(stderr).toContain('Operation not permitted')
  })
})

describe('the user', () => {
  const ids = 'id -u; id -g; id -G'
  it.each([
    ['root', '0 0 0 10'],
    ['alice', '1000 1000 1000 10 29'],
    ['1000', '1000 1000 1000 10 29'],
    ['1000:10', '1000 10 10'],
    ['alice:audio', '1000 29 29'],
    ['4711', '4711 0 0'],
    ['4711:4712', '4711 4712 4712'],
  ])('%s is uid, gid and groups %s', async (user, expected) => {
    const text = await machine.sh(ids, ['--user', user])
    const [uid, gid, groups] = text.split('\n')
    expect(
      `${uid} ${gid} ${groups
        ?.split(' ')
        .toSorted((a, b) => Number(b === gid) - Number(a === gid) || Number(a) - Number(b))
        .join(' ')}`,
    ).toBe(expected)
  })

  it('gets further groups by --group-add, by name and number', async () => {
    const groups = (
      await machine.sh('id -G', ['--user', 'nobody', '--group-add', 'audio', '--group-add', '5000'])
    ).split(' ')
    expect(groups.toSorted()).toEqual(['29', '5000', '65534'])
  })

  it('has the home of passwd', async () => {
    expect(await machine.sh('echo $HOME', ['--user', 'alice'])).toBe('/home/alice')
    expect(await machine.sh('echo $HOME', ['--user', '4711'])).toBe('/')
  })

  it('cannot read the files of root', async () => {
    const { exitCode, stderr } = await machine.run(['--user', 'alice'], ['sh', '-c', 'ls /root/x; touch /etc/x'])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('Permission denied')
  })

  it('has the umask asked for', async () => {
    expect(await machine.sh('umask')).toBe('0022')
    expect(await machine.sh('umask', ['--umask', '077'])).toBe('0077')
  })
})

describe('seccomp', () => {
  it('filters, without no_new_privs', async () => {
    expect(await status()).toMatchObject({ Seccomp: '2', Seccomp_filters: '1', NoNewPrivs: '0' })
  })

  it("refuses what docker's filter refuses, and AF_ALG and AF_VSOCK", async () => {
    expect(await calls()).toEqual({
      'unshare-user': 'EPERM',
      'clone-user': 'EPERM',
      clone3: 'ENOSYS',
      mount: 'EPERM',
      umount: 'EPERM',
      fsopen: 'EPERM',
      open_tree: 'EPERM',
      setns: 'EPERM',
      keyctl: 'EPERM',
      add_key: 'EPERM',
      bpf: 'EPERM',
      io_uring: 'EPERM',
      userfaultfd: 'EPERM',
      af_alg: expect.stringMatching(/^(EPERM|Address family not supported.*)$/),
      af_vsock: expect.stringMatching(/^(EPERM|Address family not supported.*)$/),
      af_inet: 'ok',
      getppid: 'ok',
    })
  })

  it('is the reason: without it the kernel lets the same process do what it may', async () => {
    const open = await calls(['--security-opt', 'seccomp=unconfined'])
    expect(open).toMatchObject({ 'unshare-user': 'ok', keyctl: 'ok', open_tree: 'ok', af_vsock: 'ok' })
    expect(await status(['--security-opt', 'seccomp=unconfined'])).toMatchObject({ Seccomp: '0' })
  })

  it('opens calls that belong to a capability with it', async () => {
    expect(await calls(['--cap-add', 'sys_admin'])).toMatchObject({ fsopen: 'ok', mount: 'ok' })
  })

  it("takes a profile in docker's format", async () => {
    const path = join(machine.directory, 'profile.json')
    writeFileSync(
      path,
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
      }),
    )
    const { stderr, exitCode } = await machine.run(['--security-opt', `seccomp=${path}`], ['mkdir', '/tmp/x'])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('Operation not permitted')
    expect(await calls(['--security-opt', `seccomp=${path}`])).toMatchObject({ keyctl: 'ok' })
  })
})

describe('no_new_privs', () => {
  it('is set on request, and then together with the filter', async () => {
    expect(await status(['--security-opt', 'no-new-privileges'])).toMatchObject({ NoNewPrivs: '1', Seccomp: '2' })
    expect(await status(['--security-opt', 'no-new-privileges', '--user', '1000'])).toMatchObject({
      NoNewPrivs: '1',
      Seccomp: '2',
      CapEff: NONE,
    })
  })
})

describe('descriptors', () => {
  // In a child, and without a pipe: the shell opens nothing for it.
  const LIST = '(ls -l /proc/1/fd); true'
  const listed = (text: string): string[] => [...text.matchAll(/ (\d+) -> (.*)$/gm)].map(([, fd, to]) => `${fd} ${to}`)

  it('are 0, 1 and 2 and no others', async () => {
    // The shell itself opens none: what it lists are those it was given.
    const lines = listed(await machine.sh(LIST))
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['0', '1', '2'])
  })

  it('of the caller are not handed on', async () => {
    const fd = openSync('/etc/passwd', 'r')
    const stdio = ['ignore', 'pipe', 'inherit', 'ignore', 'ignore', fd, fd, fd, fd, fd] as const
    const child = spawn(
      TSCRUN,
      [
        '--root',
        machine.store,
        '--runroot',
        machine.runRoot,
        'run',
        '--rm',
        '--rootfs',
        `${machine.rootfs}:O`,
        'sh',
        '-c',
        LIST,
      ],
      { stdio: [...stdio] },
    )
    let text = ''
    child.stdout?.on('data', (chunk: Buffer) => (text += String(chunk)))
    const code = await new Promise((resolve) => child.once('close', resolve))
    closeSync(fd)
    expect({
      code,
      fds: listed(text).map((line) => line.split(' ')[0]),
    }).toEqual({ code: 0, fds: ['0', '1', '2'] })
    expect(text).not.toContain('passwd')
  })

  it('are pipes of its own, not those of the caller', async () => {
    const [, one] = listed(await machine.sh(LIST))
    expect(one).toMatch(/^1 pipe:/)
    const { stdout } = await execa('sh', [
      '-c',
      `readlink /proc/self/fd/1; ${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} run --rm --rootfs ${machine.rootfs}:O readlink /proc/self/fd/1`,
    ])
    const [ours, theirs] = stdout.split('\n')
    expect(theirs).not.toBe(ours)
  })
})

describe('--privileged', () => {
  it('has every capability, no filter, nothing masked, the devices of the host', async () => {
    const ours = /^CapBnd:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    expect(await status(['--privileged'])).toMatchObject({ CapEff: ours, CapInh: NONE, Seccomp: '0' })
    const host = readdirSync('/dev').filter((name) => /^(loop|vd|tty)\w+$/.test(name))
    const seen = (await machine.sh('ls /dev', ['--privileged'])).split('\n')
    expect(seen).toEqual(expect.arrayContaining(host))
    expect(await machine.sh('grep -c " /proc/sys " /proc/self/mountinfo || true', ['--privileged'])).toBe('0')
  })
})

describe('the store', () => {
  it('is closed to everyone but root (CVE-2021-41091: setuid files of layers)', async () => {
    await machine.sh('true')
    const modes = await execa('stat', ['-c', '%a', machine.store, join(machine.store, 'containers'), machine.runRoot])
    expect(modes.stdout.split('\n')).toEqual(['700', '700', '700'])
  })
})
