import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ADDRESSES, type HostNetwork, makeHostNetwork } from './fixtures/host-network.ts'
import { isAlive, useMachine, PROJECT, until, type Ended } from './fixtures/machine.ts'

const machine = useMachine()
let net: HostNetwork
/** Of the resolver at the other end of the uplink: a line for each question. */
let asked = ''
/** The host's, as /proc names it. */
let namespace = ''

beforeAll(async () => {
  writeFileSync(join(machine.directory, 'resolv.conf'), `nameserver ${ADDRESSES.outside}\n`)
  net = await makeHostNetwork(machine, join(machine.directory, 'resolv.conf'))
  namespace = await net.host('readlink /proc/self/ns/net')
  const server = net.startOutside(['python3', join(PROJECT, 'test/kernel/fixtures/name-server.py'), ADDRESSES.outside])
  server.stdout?.on('data', (chunk: Buffer) => (asked += chunk.toString()))
  await until(() => asked.includes('ready'))
  for (const args of [
    ['--ipv6', 'front'],
    ['--ipv6', 'back'],
    ['--internal', 'inner'],
  ]) {
    await net.tscrun(['network', 'create', ...args])
  }
})
afterAll(() => {
  net.dispose()
})
afterEach(async () => {
  const ids = (await net.tscrun(['ps', '-aq'])).stdout.split('\n').filter(Boolean)
  if (ids.length > 0) await net.tscrun(['rm', '-f', ...ids])
  // It ends with the last container.
  await until(() => services().length === 0)
})

const ROOT = (): string => `${machine.rootfs}:O`

async function start(
  name: string,
  flags: readonly string[],
  command: readonly string[] = ['sleep', '1000'],
): Promise<void> {
  const started = await net.tscrun(['run', '-d', '--name', name, ...flags, '--rootfs', ROOT(), ...command])
  expect(started).toMatchObject({ exitCode: 0 })
}

const run = (flags: readonly string[], script: string, rootfs = ROOT()): Promise<Ended> =>
  net.tscrun(['run', '--rm', ...flags, '--rootfs', rootfs, 'sh', '-c', script])

/** Addresses, or the name, that busybox's nslookup is told in a container of each name, or what it says instead. */
async function lookups(container: string, names: readonly string[]): Promise<string[][]> {
  const script = names.map((name) => `nslookup ${name}; echo =`).join(';')
  const { stdout } = await net.tscrun(['exec', container, 'sh', '-c', script])
  const answers = stdout.split('=\n').slice(0, -1)
  return answers.map((text) => {
    const found = [...text.matchAll(/^Address: (.*)$|name = (.*)$/gm)].map(([, address, name = '']) => address ?? name)
    return found.length > 0 ? found : [/NXDOMAIN|SERVFAIL|REFUSED|timed out/.exec(text)?.[0] ?? text]
  })
}

async function lookup(container: string, name: string): Promise<string[] | undefined> {
  return (await lookups(container, [name]))[0]
}

async function addresses(name: string, network: string): Promise<[ip: string, ip6: string]> {
  const of = `index .NetworkSettings.Networks "${network}"`
  const template = `{{(${of}).IPAddress}} {{(${of}).GlobalIPv6Address}}`
  const { stdout } = await net.tscrun(['inspect', '-f', template, name])
  const [ip = '', ip6 = ''] = stdout.trim().split(' ')
  return [ip, ip6]
}

/** Pids of the name services of this host. */
function services(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isAlive(pid) && isService(pid))
}

function isService(pid: number): boolean {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8')
    return name === 'tscrun-names\n' && readlinkSync(`/proc/${pid}/ns/net`) === namespace
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return false
    throw error
  }
}

describe('containers of a network find each other', () => {
  it('by name, alias, id and host name, in any case, with the network’s name behind it or not', async () => {
    await start('web', ['--network', 'front', '--network-alias', 'www', '--hostname', 'Web-Host'])
    await start('db', ['--network', 'front'])
    const both = await addresses('web', 'front')
    const { stdout: id } = await net.tscrun(['inspect', '-f', '{{.Id}}', 'web'])
    const names = ['web', 'WEB', 'www', 'web-host', id.slice(0, 12), 'web.front', 'www.front.']
    expect(await lookups('db', names)).toEqual(names.map(() => both))
    // And the names of addresses; one that nobody has is asked of nobody else.
    asked = ''
    const free = both[0].replace(/\d+$/, (last) => String(last === '250' ? 251 : 250))
    expect(await lookups('db', [...both, free])).toEqual([['web'], ['web'], ['NXDOMAIN']])
    expect(asked).toBe('')
  })

  it('with the C library of the host, over TCP too, and reach one another over both families', async () => {
    await start('web', ['--network', 'front'], ['httpd', '-f', '-p', '80', '-h', '/etc'])
    const [ip, ip6] = await addresses('web', 'front')
    const script =
      'getent ahostsv4 web; getent ahostsv6 web; curl -sS -4 http://web/group; curl -sS -6 http://web/group'
    for (const flags of [
      ['--dns-search', 'corp.example'],
      ['--dns-option', 'use-vc'],
    ]) {
      const { stdout } = await run(['--network', 'front', ...flags], script, '/:O')
      expect(stdout).toContain(`${ip} `)
      expect(stdout).toContain(`${ip6} `)
      expect(stdout.match(/^alice:/gm)).toHaveLength(2)
    }
  })

  it('that share an alias in turn', async () => {
    for (const name of ['one', 'two', 'three']) await start(name, ['--network', 'front', '--network-alias', 'pool'])
    const rounds = await lookups(
      'one',
      Array.from({ length: 6 }, () => 'pool'),
    )
    const found = rounds.map((round) => round.filter((address) => !address.includes(':')))
    expect(found.map((all) => new Set(all).size)).toEqual([3, 3, 3, 3, 3, 3])
    expect(new Set(found.map(([first]) => first)).size).toBeGreaterThan(1)
  })

  it('only where they share a network', async () => {
    await start('web', ['--network', 'front'])
    await start('other', ['--network', 'back'])
    await start('both', ['--network', 'front,back'])
    const [ip] = await addresses('web', 'front')
    const nothing = ['NXDOMAIN']
    const seen = await lookups('other', ['web', 'web.front', ip, 'both'])
    expect(seen).toEqual([nothing, nothing, nothing, await addresses('both', 'back')])
    expect(await lookup('both', 'web')).toEqual(await addresses('web', 'front'))
    expect(await lookup('web', 'both')).toEqual(await addresses('both', 'front'))
  })
})

describe('other names', () => {
  it('are asked of the host’s resolver, or of those of --dns', async () => {
    await start('web', ['--network', 'front'])
    expect(await lookups('web', ['up.example', 'nowhere.example'])).toEqual([['192.0.2.7'], ['NXDOMAIN']])
    // Nobody listens at the first.
    await start('own', ['--network', 'front', '--dns', '127.0.0.1', '--dns', ADDRESSES.outside])
    expect(await lookup('own', 'up.example')).toEqual(['192.0.2.7'])
    expect((await net.tscrun(['exec', 'own', 'cat', '/etc/resolv.conf'])).stdout).toBe(
      'nameserver 127.0.0.11\noptions ndots:0\n',
    )
  })

  it('with large answers come over TCP', async () => {
    asked = ''
    const { stdout } = await run(['--network', 'front'], 'getent ahostsv4 long.example | grep -c STREAM', '/:O')
    expect(stdout).toBe('199\n')
    expect(asked).toContain('asked long.example tcp')
  })

  it('follow the host’s resolv.conf while the container runs', async () => {
    const file = join(machine.directory, 'resolv.conf')
    const before = readFileSync(file, 'utf8')
    writeFileSync(file, 'nameserver 127.0.0.1\n')
    await start('web', ['--network', 'front'])
    expect(await lookup('web', 'up.example')).toEqual(['SERVFAIL'])
    writeFileSync(file, before)
    while ((await lookup('web', 'up.example'))?.[0] !== '192.0.2.7') await sleep(100)
  })

  it('are asked of nobody from an internal network', async () => {
    asked = ''
    await start('web', ['--network', 'inner', '--dns', ADDRESSES.outside])
    await start('db', ['--network', 'inner'])
    const [ip] = await addresses('db', 'inner')
    expect(await lookups('web', ['up.example', 'db'])).toEqual([['NXDOMAIN'], [ip]])
    expect(asked).toBe('')
  })

  it('are the host’s own in the default network, where containers have no names', async () => {
    await start('web', ['--network', 'bridge'])
    const { stdout } = await run(['--network', 'bridge'], 'cat /etc/resolv.conf; nslookup web; nslookup up.example')
    expect(stdout).toContain(`nameserver ${ADDRESSES.outside}\n`)
    expect(stdout).toMatch(/can't find web: NXDOMAIN[^]*Address: 192\.0\.2\.7/)
    expect(services()).toEqual([])
  })
})

describe('the name service', () => {
  it('is one process for all networks, which may do next to nothing', async () => {
    await start('web', ['--network', 'front'])
    await start('other', ['--network', 'back'])
    await start('inside', ['--network', 'inner'])
    const [pid, second] = await until(() => services().length > 0 && services())
    expect(second).toBeUndefined()
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m)
    expect(status).toMatch(/^CapPrm:\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(status).toMatch(/^Seccomp:\t2$/m)
    expect(readdirSync(`/proc/${pid}/root`).toSorted()).toEqual(['etc', 'run'])
    // Nothing listens on the host.
    expect(await net.host('ss -Hlntu')).toBe('')
  })

  it('is there again when it was killed, and after a restart without Node', async () => {
    await start('web', ['--network', 'front', '--restart', 'always'])
    await start('db', ['--network', 'front'])
    const [pid = 0] = await until(() => services().length > 0 && services())
    process.kill(pid, 'SIGKILL')
    await until(() => services().some((other) => other !== pid))
    while ((await lookup('db', 'web'))?.[0] !== (await addresses('web', 'front'))[0]) await sleep(50)
    expect(await lookup('web', 'db')).toEqual(await addresses('db', 'front'))
    const { stdout: first } = await net.tscrun(['inspect', '-f', '{{.State.Pid}}', 'web'])
    process.kill(Number(first), 'SIGKILL')
    await until(() => !isAlive(Number(first)))
    while ((await net.tscrun(['exec', 'web', 'true'])).exitCode !== 0) await sleep(50)
    expect(await lookup('web', 'db')).toEqual(await addresses('db', 'front'))
    expect(services()).toHaveLength(1)
  })

  it('goes on whatever it is sent, by datagrams and by calls', async () => {
    await start('web', ['--network', 'front'])
    const script = String.raw`
import random, socket
address = ('127.0.0.11', 53)
question = bytes.fromhex('123401000001000000000000037765620000010001')
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
random.seed(${process.env['TSCRUN_SEED'] ?? '1'})
for round in range(1000):
    packet = bytearray(question if round % 2 else random.randbytes(random.randrange(1, 600)))
    for change in range(random.randrange(4)):
        packet[random.randrange(len(packet))] = random.randrange(256)
    datagrams.sendto(packet[: random.randrange(1, len(packet) + 1)], address)
for round in range(60):
    call = socket.create_connection(address)
    call.sendall(random.randbytes(random.randrange(1, 400)) if round % 2 else b'\x00\x15' + question[: random.randrange(1, 21)])
    call.close()
call = socket.create_connection(address)
call.sendall(2 * (b'\x00\x15' + question))
reply = call.recv(2000)
while len(reply) < 2 * 39:
    reply += call.recv(2000)
print(reply.count(b'\x12\x34'))`
    // Until its exec it is the fork of a monitor.
    const [pid] = await until(() => services().length > 0 && services())
    const flags = ['--rm', '--network', 'front', '--rootfs', '/:O']
    expect((await net.tscrun(['run', ...flags, 'python3', '-c', script])).stdout).toBe('2\n')
    expect(services()).toEqual([pid])
    expect(await lookup('web', 'web')).toEqual(await addresses('web', 'front'))
  })

  it('is that of the container whose network another one joins, too', async () => {
    await start('web', ['--network', 'front'])
    await start('db', ['--network', 'front'])
    const { stdout } = await run(['--network', 'container:web'], 'nslookup db; nslookup web; cat /etc/hosts')
    for (const name of ['db', 'web']) expect(stdout).toContain(`Address: ${(await addresses(name, 'front'))[0]}\n`)
    expect(stdout).toMatch(/^10\.[0-9.]+ [0-9a-f]{12} web$/m)
  })

  it('forgets who has ended, and who was renamed is found by the new name', async () => {
    await start('web', ['--network', 'front'])
    await start('db', ['--network', 'front'])
    expect(await net.tscrun(['rename', 'web', 'shop'])).toMatchObject({ exitCode: 0 })
    expect(await lookups('db', ['web', 'shop'])).toEqual([['NXDOMAIN'], await addresses('shop', 'front')])
    await net.tscrun(['stop', '-t', '0', 'shop'])
    expect(await lookup('db', 'shop')).toEqual(['NXDOMAIN'])
  })

  it('leaves port 53 of every address to the container', async () => {
    const server =
      "const s=require('dgram').createSocket('udp6');s.on('message',(m,r)=>s.send('echo '+m,r.port,r.address));s.bind(53,()=>console.log('up'))"
    const flags = ['-d', '--name', 'dns', '--network', 'front', '--rootfs', '/:O']
    expect(await net.tscrun(['run', ...flags, process.execPath, '-e', server])).toMatchObject({ exitCode: 0 })
    while (!(await net.tscrun(['logs', 'dns'])).stdout.includes('up')) await sleep(20)
    const ask = `const s=require('dgram').createSocket('udp4');s.on('message',m=>{console.log(''+m);process.exit()});s.send('hi',53,'dns')`
    const { stdout } = await net.tscrun([
      'run',
      '--rm',
      '--network',
      'front',
      '--rootfs',
      '/:O',
      process.execPath,
      '-e',
      ask,
    ])
    expect(stdout).toBe('echo hi\n')
    expect((await net.tscrun(['exec', 'dns', 'getent', 'ahostsv4', 'dns'])).stdout).toContain(
      (await addresses('dns', 'front'))[0],
    )
  })
})
