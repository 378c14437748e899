import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type HostNetwork, makeHostNetwork } from './fixtures/host-network.ts'
import { expectOneLine, useMachine, type Ended } from './fixtures/machine.ts'

const machine = useMachine()
let net: HostNetwork

beforeAll(async () => {
  // Nobody answers there, and at once.
  writeFileSync(join(machine.directory, 'resolv.conf'), 'nameserver 127.0.0.1\n')
  net = await makeHostNetwork(machine, join(machine.directory, 'resolv.conf'))
  await net.tscrun(['network', 'create', '--subnet', '10.99.1.0/24', 'front'])
  await net.tscrun(['network', 'create', '--subnet', '10.99.2.0/24', 'back'])
  await start('db', ['--network', 'back'])
})
afterEach(() => net.tscrun(['rm', '-f', '-i', 'web', 'later', 'none', 'ported']))
afterAll(async () => {
  await net.tscrun(['rm', '-fa', '-t', '0'])
  net.dispose()
})

function start(name: string, flags: readonly string[]): Promise<Ended> {
  return net.tscrun(['run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000'])
}

async function inside(name: string, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await net.tscrun(['exec', name, 'sh', '-c', script])
  return exitCode === 0 ? stdout : `${stdout}${stderr}`
}

const connect = (...args: string[]): Promise<Ended> => net.tscrun(['network', 'connect', ...args])
const disconnect = (...args: string[]): Promise<Ended> => net.tscrun(['network', 'disconnect', ...args])

it('a container that runs gets a link, an address, names and a line in hosts, and keeps them', async () => {
  await start('web', ['--network', 'front'])
  expect(await inside('web', 'nslookup db')).not.toContain('10.99.2.')
  const asked = ['--ip', '10.99.2.40', '--mac-address', '0a:00:00:00:00:40', '--alias', 'shop']
  expect(await connect(...asked, 'back', 'web')).toMatchObject({ exitCode: 0, stderr: '' })
  for (const round of ['now', 'after a restart']) {
    const seen = await inside('web', 'ip addr show eth1; cat /etc/hosts; ping -c 1 -W 2 db')
    expect(seen, round).toMatch(/0a:00:00:00:00:40[^]*10\.99\.2\.40\/24[^]*\n10\.99\.2\.40 [0-9a-f]{12} web\n/)
    expect(seen, round).toContain('1 packets received')
    expect(await inside('db', 'nslookup shop'), round).toContain('10.99.2.40')
    expect(await net.tscrun(['restart', '-t', '0', 'web'])).toMatchObject({ exitCode: 0, stderr: '' })
  }
  expect((await net.tscrun(['ps', '-q', '--filter', 'network=back'])).stdout.trim().split('\n')).toHaveLength(2)
  expect((await net.tscrun(['network', 'inspect', 'back'])).stdout).toContain('"IPv4Address": "10.99.2.40/24"')
})

it('one of the default network begins to ask the name service, and ends with the last of its networks', async () => {
  await start('web', ['--network', 'bridge'])
  const before = await inside('web', 'cat /etc/resolv.conf')
  await inside('web', 'echo 192.0.2.9 mine >> /etc/hosts')
  expect(await connect('back', 'web')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(await inside('web', 'cat /etc/resolv.conf; nslookup db')).toMatch(/nameserver 127\.0\.0\.11[^]*10\.99\.2\./)
  expect(await inside('db', 'nslookup web')).toContain('10.99.2.')
  expect(await disconnect('back', 'web')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(await inside('web', 'cat /etc/resolv.conf')).toBe(before)
  const events = ['events', '--since', '1m', '--stream=false', '--filter', 'network=back', '--format', '{{.Action}}']
  expect((await net.tscrun(events)).stdout).toMatch(/connect\ndisconnect\n$/)
  expect(await inside('web', 'ip link show eth1 2>&1; cat /etc/hosts')).toMatch(/can't find[^]*192\.0\.2\.9 mine/)
  expect(await inside('web', 'cat /etc/hosts')).not.toContain('10.99.2.')
  expect(await inside('db', 'nslookup web')).not.toContain('10.99.2.')
})

it('the way out is that of the next network when its own is left, and the address is free again', async () => {
  await start('web', ['--network', 'front,back', '--restart', 'always'])
  expect(await disconnect('front', 'web')).toMatchObject({ exitCode: 0 })
  expect(await inside('web', 'ip route; cat /etc/hosts')).toMatch(
    /^default via 10\.99\.2\.1 dev eth1[^]*^10\.99\.2\.1 host\.docker\.internal$/m,
  )
  const { stdout: id } = await net.tscrun(['network', 'inspect', '-f', '{{.Id}}', 'front'])
  expect(readdirSync(join(machine.store, 'leases', id.trim()))).toEqual([])
  // And back: the number that is free, not the next one.
  expect(await connect('front', 'web')).toMatchObject({ exitCode: 0 })
  await net.tscrun(['restart', '-t', '0', 'web'])
  expect(await inside('web', 'ip -o -4 addr')).toMatch(/eth1 +inet 10\.99\.2\.[^]*eth0 +inet 10\.99\.1\./)
})

it('one that does not run is connected at its next start', async () => {
  const flags = ['--name', 'later', '--network', 'front', '--rootfs', `${machine.rootfs}:O`]
  await net.tscrun(['create', ...flags, 'sleep', '1000'])
  expect(await connect('--ip', '10.99.2.50', 'back', 'later')).toMatchObject({ exitCode: 0 })
  expect(await disconnect('front', 'later')).toMatchObject({ exitCode: 0 })
  await net.tscrun(['start', 'later'])
  const seen = await inside('later', 'ip -o -4 addr; cat /etc/hosts; nslookup db')
  expect(seen).toMatch(/inet 10\.99\.2\.50\/24[^]*\n10\.99\.2\.50 [^]*Address: 10\.99\.2\./)
  expect(seen).not.toContain('10.99.1.')
})

it('with options behind its name each network has its own', async () => {
  const networks = ['--network', 'front:ip=10.99.1.60,alias=one,alias=two', '--network', 'name=back,ip=10.99.2.60']
  await start('web', [...networks, '--add-host', 'host:host-gateway'])
  expect(await inside('web', 'cat /etc/hosts; ping -c 1 -W 2 host')).toMatch(
    /^10\.99\.1\.1 host$[^]*1 packets received/m,
  )
  expect(await inside('web', 'ip -o -4 addr')).toMatch(/eth0 +inet 10\.99\.1\.60[^]*eth1 +inet 10\.99\.2\.60/)
  expect(await inside('web', 'nslookup two')).toContain('10.99.1.60')
  expect(await inside('db', 'nslookup two')).not.toContain('10.99.')
})

it('what cannot be is said in one line, and changes nothing', async () => {
  await start('none', ['--network', 'none'])
  await start('ported', ['--network', 'front', '-p', '8080:80'])
  const cases: [args: string[], words: RegExp][] = [
    [['connect', 'back', 'db'], /^tscrun: network connect back db: it is connected already/],
    [['connect', 'back', 'none'], /^tscrun: network connect back none: it has no network of its own/],
    [['connect', 'nowhere', 'db'], /^tscrun: network nowhere: there is none of this name/],
    [['connect', 'front', 'nobody'], /^tscrun: container nobody: there is none/],
    [['connect', '--ip', '10.99.7.1', 'front', 'db'], /^tscrun: --ip 10\.99\.7\.1: it is not in network front/],
    [['disconnect', 'front', 'db'], /^tscrun: network disconnect front db: it is not connected to it/],
    [['disconnect', 'front', 'ported'], /^tscrun: network disconnect front ported: its published ports lead there/],
  ]
  const before = await inside('db', 'ip -o addr')
  for (const [args, words] of cases) {
    const { exitCode, stderr } = await net.tscrun(['network', ...args])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, words)
  }
  expect(await disconnect('-f', 'front', 'db')).toMatchObject({ exitCode: 0 })
  expect(await inside('db', 'ip -o addr')).toBe(before)
})

it('networks are listed and pruned by what they are', async () => {
  const names = async (...filters: string[]): Promise<string[]> => {
    const { stdout } = await net.tscrun([
      'network',
      'ls',
      '--format',
      '{{.Name}}',
      ...filters.flatMap((f) => ['-f', f]),
    ])
    return stdout.split('\n').filter(Boolean)
  }
  for (const [name, label] of [
    ['old', 'a=1'],
    ['new', 'b=1'],
  ] as const)
    await net.tscrun(['network', 'create', '--label', label, name])
  expect(await names('label=a')).toEqual(['old'])
  expect(await names('label!=a', 'name=o')).toEqual(['front'])
  expect(await names('dangling=true')).toEqual(['bridge', 'front', 'new', 'old'])
  expect((await net.tscrun(['network', 'prune', '-f', '--filter', 'label=b'])).stdout).toBe('Deleted Networks:\nnew\n')
  expect(await names('driver=macvlan')).toEqual([])
  expectOneLine((await net.tscrun(['network', 'ls', '-f', 'color=red'])).stderr, /unknown key "color"/)
})
