import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { isInFirst } from '../../src/engine/ids/nesting.ts'
import { expectNothingLeft, expectOneLine, useMachine, PROJECT, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()
let inner = ''
beforeAll(() => {
  inner = join(machine.directory, 'inner')
  mkdirSync(inner)
})
afterEach(() => expectNothingLeft(machine))

/** First id outside, of a line of uid_map. */
const firstOf = (line = ''): number => Number(line.trim().split(/\s+/)[1])

describe('tscrun in a privileged container', () => {
  it('takes ids that the tscrun around it never gives away', async () => {
    const show = "sh -c 'cat /proc/self/uid_map'"
    const again = `${TSCRUN} --root ${inner}/s --runroot /tmp/r run --rm --network none --rootfs ${machine.rootfs}:O ${show}`
    const volumes = [PROJECT, machine.rootfs, inner].flatMap((path) => ['-v', `${path}:${path}`])
    // Several, since a range is picked by a random id.
    const script = `for i in 1 2 3 4; do ${again}; done`
    const { exitCode, stdout, stderr } = await machine.tscrun(
      ['run', '--rm', '--privileged', ...volumes, '--rootfs', '/:O', 'sh', '-c', script],
      { env: { TSCRUN_NODE: process.execPath } },
    )
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    const nested = stdout.trimEnd().split('\n').map(firstOf)
    expect(nested.length).toBe(4)
    expect(Math.min(...nested)).toBeGreaterThanOrEqual(0x7bfe0000)
    // Where the tests are in a container already, this is nested too.
    if (!isInFirst('pid')) return
    for (let count = 0; count < 4; count++) {
      expect(firstOf(await machine.sh('cat /proc/self/uid_map'))).toBeLessThanOrEqual(0x7bfe0000 - 65_536)
    }
  })
})

/** Runs its arguments as root of a user namespace with 200,000 ids. */
const AS_ROOT_OF_A_USER_NAMESPACE = `
import ctypes, os, sys
made, mapped = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).unshare(0x10000000)
    os.write(made[1], b'x')
    os.read(mapped[0], 1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(made[0], 1)
for name in ('uid_map', 'gid_map'):
    with open(f'/proc/{pid}/{name}', 'w') as file:
        file.write('0 1900000000 200000')
os.write(mapped[1], b'x')
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

describe('root of a user namespace', () => {
  it('is told whose file cannot be unpacked there', async () => {
    // Where that root may go, too.
    const place = mkdtempSync('/var/tmp/tscrun-nested-')
    try {
      mkdirSync(join(place, 'tree'))
      writeFileSync(join(place, 'tree', 'file'), 'x')
      await execa('tar', ['-C', join(place, 'tree'), '--owner=200000', '--group=7', '-cf', join(place, 'tar'), 'file'])
      chownSync(place, 1_900_000_000, 1_900_000_000)
      const store = ['--root', join(place, 's'), '--runroot', join(place, 'r')]
      const within = ['unshare', '-mpf', '--mount-proc', TSCRUN, ...store, 'import', '-q', join(place, 'tar'), 'a:1']
      const result = await execa('python3', ['-c', AS_ROOT_OF_A_USER_NAMESPACE, ...within], {
        reject: false,
        stripFinalNewline: false,
        env: { TSCRUN_NODE: process.execPath },
      })
      expect({ exitCode: result.exitCode, stdout: result.stdout }).toEqual({ exitCode: 125, stdout: '' })
      expectOneLine(
        result.stderr,
        /^tscrun: unpack layer .*: "?file"? has the owner 200000:7, and this user namespace has/,
      )
    } finally {
      rmSync(place, { recursive: true })
    }
  })

  it('is told in one line that the root of the host is needed', async () => {
    const args = ['--root', '/absent/s', '--runroot', '/absent/r', 'run', '--rm', '--rootfs', '/:O', 'true']
    const result = await execa('python3', ['-c', AS_ROOT_OF_A_USER_NAMESPACE, TSCRUN, ...args], {
      reject: false,
      stripFinalNewline: false,
      cwd: '/',
      env: { TSCRUN_NODE: process.execPath },
    })
    expect({ exitCode: result.exitCode, stdout: result.stdout }).toEqual({ exitCode: 125, stdout: '' })
    expectOneLine(result.stderr, /^tscrun: running a container needs root of the host: .* \(start .* --userns=host/)
  })
})
