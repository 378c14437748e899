import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from './fixtures/machine.ts'
import { makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())

/** Takes one message with a pidfd; says whose it is, and ends that one with it as soon as there is a file `go`. */
const TAKE_PIDFD = `import array, os, re, select, signal, socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
connection, _ = server.accept()
text, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
[pidfd] = array.array('i', ancillary[0][2])
print(re.search(r'Pid:\\s+(\\d+)', open(f'/proc/self/fdinfo/{pidfd}').read())[1], flush=True)
print(len(connection.recv(64)), flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
signal.pidfd_send_signal(pidfd, signal.SIGKILL)
print(len(select.select([pidfd], [], [], 20)[0]), flush=True)
`

describe('a pidfd socket', () => {
  it.each([
    ['create', ['create', '--bundle', '@bundle', '--pidfd-socket', '@socket', '--pid-file', '@pid', '@id']],
    ['run', ['run', '--detach', '--bundle', '@bundle', '--pidfd-socket=@socket', '--pid-file', '@pid', '@id']],
    ['exec', ['exec', '--detach', '--pidfd-socket', '@socket', '--pid-file', '@pid', 'base', 'sleep', '1000']],
  ])('is given a descriptor of the first process by %s, once, and it ends that process', async (verb, words) => {
    if (verb === 'exec') await host.start('base', host.bundle())
    const inPlace = (name: string): string => join(host.place.directory, `${verb}.${name}`)
    const values = { '@bundle': host.bundle(), '@socket': inPlace('sock'), '@pid': inPlace('pid'), '@id': verb }
    writeFileSync(inPlace('py'), TAKE_PIDFD)
    const receiver = host.place.start(['python3', inPlace('py'), values['@socket'], inPlace('go')], inPlace('log'))
    const ended = new Promise((resolve) => receiver.once('exit', resolve))
    await until(() => existsSync(values['@socket']))
    const filled = words.map((word) => Object.entries(values).reduce((text, [key, to]) => text.replace(key, to), word))
    expect(await host.quietly(filled)).toMatchObject({ exitCode: 0, stderr: '' })
    writeFileSync(inPlace('go'), '')
    expect(await ended).toBe(0)
    // Its pid; no second message; it is readable, as the pidfd of one that has ended (pidfd_open(2)).
    expect(readFileSync(inPlace('log'), 'utf8')).toBe(`${readFileSync(inPlace('pid'), 'utf8')}\n0\n1\n`)
    if (verb !== 'exec') expect(await host.status(verb)).toBe('stopped')
    await host.ok(['delete', '--force', verb === 'exec' ? 'base' : verb])
    expect(host.traces()).toEqual([])
  })

  it('where nobody listens ends the create by name, and nothing is left', async () => {
    const { exitCode, stderr } = await host.oci([
      'create',
      '--bundle',
      host.bundle(),
      '--pidfd-socket',
      '/no/body',
      'x',
    ])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('connect /no/body: ENOENT')])
    expect(host.traces()).toEqual([])
  })
})

/**
 * Runs a command with a session keyring that has a key which only its possessors see (keyctl(2)): the numbers are those
 * of x86_64 and arm64.
 */
const WITH_KEY = `import ctypes, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = (248, 250) if platform.machine() == 'x86_64' else (217, 219)
JOIN_SESSION_KEYRING, SETPERM, SESSION = 1, 5, -3
assert libc.syscall(keyctl, JOIN_SESSION_KEYRING, b'callers') > 0
key = libc.syscall(add_key, b'user', b'tscrun-test-secret', b'secret', 6, SESSION)
assert key > 0 and libc.syscall(keyctl, SETPERM, key, 0x3f000000) == 0
os.execvp(sys.argv[1], sys.argv[1:])
`

describe("the caller's session keyring", () => {
  /** Of a container whose verb has been called with the key at hand: what it, and an exec with the key, see of it. */
  const seen = async (id: string, flags: readonly string[]): Promise<string> => {
    const program = join(host.place.directory, 'with-key.py')
    writeFileSync(program, WITH_KEY)
    const look = 'grep -c tscrun-test-secret /proc/keys; true'
    const bundle = host.bundle((config) => ({
      ...running('sh', '-c', `${look}; sleep 1000`)(config),
      linux: { ...config.linux, maskedPaths: [] },
    }))
    const log = join(host.place.directory, `${id}.keys`)
    const withKey = ['python3', program, RUNTIME, '--root', host.root]
    const run = [...withKey, 'run', '--detach', ...flags, '--bundle', bundle, id]
    // The container keeps the streams: a pipe of ours would have no end before it.
    expect((await host.place.run(['sh', '-c', '"$@" </dev/null >"$0" 2>&1', log, ...run])).exitCode).toBe(0)
    const own = await until(() => [readFileSync(log, 'utf8')].find((text) => text.endsWith('\n')))
    const { stdout } = await host.place.run([...withKey, 'exec', id, 'sh', '-c', look])
    await host.ok(['delete', '--force', id])
    return own + stdout
  }

  it('is not the one of a container', async () => {
    expect(await seen('own', [])).toBe('0\n0\n')
  })

  it('is kept with --no-new-keyring, and then exec has that of its own caller', async () => {
    expect(await seen('kept', ['--no-new-keyring'])).toBe('1\n1\n')
    expect(host.traces()).toEqual([])
  })
})
