import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ADDRESSES, useHostNetwork } from './fixtures/host-network.ts'
import {
  expectNothingLeft,
  expectOneLine,
  pidOf,
  type Ended,
  type Running,
  until,
  useMachine,
} from './fixtures/machine.ts'

const machine = useMachine()
const net = useHostNetwork(machine)

beforeAll(async () => {
  const cgi = join(machine.rootfs, 'www', 'cgi-bin')
  mkdirSync(cgi, { recursive: true })
  writeFileSync(join(cgi, 'who'), '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; echo "$REMOTE_ADDR"\n', {
    mode: 0o755,
  })
})
afterEach(async () => {
  const { stdout } = await net.tscrun(['ps', '-aq'])
  const ids = stdout.split('\n').filter(Boolean)
  if (ids.length > 0) await net.tscrun(['rm', '-f', ...ids])
  await net.tscrun(['network', 'prune', '-f'])
  await expectNoConnections()
})

async function expectNoConnections(): Promise<void> {
  const leases = join(machine.store, 'leases')
  expect(readdirSync(leases).flatMap((network) => readdirSync(join(leases, network)))).toEqual([])
  await eventually(async () => !(await net.host('ip -br link')).includes('tv'))
  expect(await net.host('nft list table inet tscrun || true')).not.toContain('elements')
  expectNothingLeft({ ...machine, runRoot: join(machine.runRoot, 'containers') })
}

/** Flags, then the command, on the small root filesystem. */
const run = (flags: readonly string[], script: string): Promise<Ended> =>
  net.tscrun(['run', '--rm', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script])

const HTTPD = ['httpd', '-f', '-p', '80', '-h', '/www']

/** A web server in the background that tells who asks; resolves when it listens. */
async function serve(name: string, flags: readonly string[]): Promise<void> {
  const started = await net.tscrun(['run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, ...HTTPD])
  expect(started).toMatchObject({ exitCode: 0 })
  await eventually(async () => (await net.tscrun(['exec', name, 'nc', '127.0.0.1', '80'])).exitCode === 0)
}

async function field(name: string, template: string): Promise<string> {
  const { stdout } = await net.tscrun(['inspect', '-f', template, name])
  return stdout.trim()
}

/** Asks again until it is so; the test's time limit ends it. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20)
}

const WHO = 'curl -gsS -m 3 http'
const ADDRESS = '{{.NetworkSettings.IPAddress}}'

describe('a container on the default network', () => {
  it('has an address of each family, the gateway answers, and the way out leads through the host', async () => {
    const { stdout, stderr } = await run(
      ['--network', 'bridge'],
      `ip -o addr show eth0; ip route; cat /sys/class/net/eth0/mtu; ping -c 1 -W 2 10.110.0.1; ping -c 1 -W 2 ${ADDRESSES.outside}`,
    )
    expect(stdout).toMatch(/eth0 +inet 10\.110\.\d+\.\d+\/16 /)
    expect(stdout).toMatch(/eth0 +inet6 fd[0-9a-f:]+\/64 /)
    expect(stdout).toMatch(/^default via 10\.110\.0\.1 dev eth0 *$/m)
    expect(stdout).toMatch(/^1400$/m)
    expect(stdout.match(/1 packets received/g)).toHaveLength(2)
    // Told once, since it is the host's.
    expect(stderr).toContain('net.ipv4.ip_forward is on now')
  })

  it('is seen by others under an address of the host', async () => {
    await net.outside('mkdir -p /tmp/none')
    const { stdout } = await run(['--network', 'bridge'], `nc ${ADDRESSES.outside} 9 </dev/null; ip route | head -1`)
    expect(stdout).toContain('default via')
    // The other end has no route back to 10.110.0.0/16: an answer shows that the address was changed.
    const answered = await run(['--network', 'bridge'], `ping -c 1 -W 2 ${ADDRESSES.outside}`)
    expect(answered).toMatchObject({ exitCode: 0 })
  })

  it('knows the host by name, and by one of its own with host-gateway', async () => {
    const { stdout } = await run(
      ['--add-host', 'me:host-gateway'],
      'for name in me host.containers.internal host.docker.internal; do ping -c 1 -W 2 $name; done',
    )
    expect(stdout.match(/\(10\.110\.0\.1\)/g)).toHaveLength(3)
    expect(stdout.match(/1 packets received/g)).toHaveLength(3)
  })

  it('listens to no router, nor does the bridge, and 127.0.0.1 leads nowhere from outside of lo', async () => {
    const { stdout } = await run(
      [],
      'for link in all eth0; do cat /proc/sys/net/ipv6/conf/$link/accept_ra /proc/sys/net/ipv4/conf/$link/route_localnet; done',
    )
    // `all` says nothing of a link that is there (ip-sysctl.rst).
    expect(stdout.split('\n').slice(1, 4)).toEqual(['0', '0', '0'])
    const settings = (name: string): string => `cat /proc/sys/net/${name}`
    expect(await net.host(settings('ipv6/conf/tscrun0/accept_ra'))).toBe('0')
    for (const link of ['all', 'default', 'tscrun0', 'up0'])
      expect(await net.host(settings(`ipv4/conf/${link}/route_localnet`))).toBe('0')
    // What listened to routers goes on although the host forwards.
    expect(await net.host(settings('ipv6/conf/up0/accept_ra'))).toBe('2')
  })

  it('knows itself by its address, and keeps it from start to start', async () => {
    await serve('web', ['--network', 'bridge'])
    const address = await field('web', ADDRESS)
    const { stdout } = await net.tscrun(['exec', 'web', 'cat', '/etc/hosts'])
    expect(stdout).toContain(`${address} ${await field('web', '{{.Config.Hostname}}')} web\n`)
    await net.tscrun(['restart', '-t', '0', 'web'])
    expect(await field('web', ADDRESS)).toBe(address)
    expect((await net.tscrun(['exec', 'web', 'ip', '-o', 'addr', 'show', 'eth0'])).stdout).toContain(`${address}/16`)
  })
})

describe('a published port', () => {
  it('leads to the container from elsewhere, with the address of who asks', async () => {
    await serve('web', ['-p', '8080:80'])
    expect(await net.outside(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)).toContain(ADDRESSES.outside)
    expect(await net.outside(`${WHO}://[${ADDRESSES.host6}]:8080/cgi-bin/who`)).toContain(ADDRESSES.outside6)
    expect((await net.tscrun(['port', 'web'])).stdout).toBe('80/tcp -> 0.0.0.0:8080\n')
    expect((await net.tscrun(['port', 'web', '80'])).stdout).toBe('0.0.0.0:8080\n')
  })

  it('leads there from the host: by its addresses, and by those of the loopback', async () => {
    await serve('web', ['-p', '8080:80'])
    for (const address of [ADDRESSES.host, '127.0.0.1', '[::1]', `[${ADDRESSES.host6}]`]) {
      expect(await net.host(`${WHO}://${address}:8080/cgi-bin/who`), address).toMatch(/[0-9]/)
    }
  })

  it('leads there from another container and from the container itself', async () => {
    await serve('web', ['-p', '8080:80'])
    const ask = `printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc ${ADDRESSES.host} 8080 | grep 200`
    expect(await run(['--network', 'bridge'], ask)).toMatchObject({ exitCode: 0 })
    expect(await net.tscrun(['exec', 'web', 'sh', '-c', ask])).toMatchObject({ exitCode: 0 })
  })

  it('of one address is not one of the others', async () => {
    await serve('web', ['-p', '127.0.0.1:8080:80'])
    expect(await net.host(`${WHO}://127.0.0.1:8080/cgi-bin/who`)).toMatch(/[0-9]/)
    await expect(net.outside(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)).rejects.toThrow('curl')
    await expect(net.host(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)).rejects.toThrow('curl')
  })

  it('carries datagrams both ways, from elsewhere and over the loopback', async () => {
    const server =
      "const s=require('dgram').createSocket('udp6');s.on('message',(m,r)=>s.send('echo '+m,r.port,r.address));s.bind(53,()=>console.log('up'))"
    const flags = ['-d', '--name', 'dns', '-p', '5300:53/udp', '--rootfs', '/:O']
    expect(await net.tscrun(['run', ...flags, process.execPath, '-e', server])).toMatchObject({ exitCode: 0 })
    await eventually(async () => (await net.tscrun(['logs', 'dns'])).stdout.includes('up'))
    const ask = (address: string): string =>
      `${process.execPath} -e "const s=require('dgram').createSocket('udp4');s.on('message',m=>{console.log(''+m);process.exit()});s.send('hi',5300,'${address}');setTimeout(()=>process.exit(9),3000)"`
    expect(await net.outside(ask(ADDRESSES.host))).toBe('echo hi')
    expect(await net.host(ask('127.0.0.1'))).toBe('echo hi')
    expect(await net.host(ask(ADDRESSES.host))).toBe('echo hi')
  })

  it('that somebody has is refused in one line, and the address is given back', async () => {
    await serve('web', ['-p', '8080:80'])
    const { exitCode, stderr } = await run(['-p', '8080:80'], 'true')
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: publish port 8080\/tcp: container web has it \(publish another port, or stop/)
    await serve('local', ['-p', '127.0.0.1:8081:80'])
    const other = await run(['-p', '8081:80'], 'true')
    expectOneLine(other.stderr, /^tscrun: bind: publish port 8081\/tcp: it is in use \(EADDRINUSE\) \(`ss/)
    const elsewhere = await run(['-p', '192.0.2.77:8082:80'], 'true')
    expectOneLine(elsewhere.stderr, /8082\/tcp of 192\.0\.2\.77: this host has no such address .* \(`ip addr` shows/)
  })

  it('is free again after its monitor was killed, for the very next command', async () => {
    // A name that no other test of this machine has.
    const name = `killed-${process.pid}`
    await serve(name, ['-p', '8080:80'])
    process.kill(pidOf(`tscrun: ${name}`) ?? expect.fail('no monitor'), 'SIGKILL')
    await until(() => pidOf(`tscrun: ${name}`) === undefined)
    await serve('other', ['-p', '8080:80'])
    expect(await net.outside(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)).toContain(ADDRESSES.outside)
    expect(await field(name, '{{.State.ExitCode}}')).toBe('137')
  })

  it('is any free one for each that is exposed, with --publish-all', async () => {
    await serve('web', ['-P', '--expose', '80', '--expose', '53/udp'])
    const [, port, other] =
      /^80\/tcp -> 0\.0\.0\.0:(\d+)\n53\/udp -> 0\.0\.0\.0:(\d+)\n$/.exec((await net.tscrun(['port', 'web'])).stdout) ??
      []
    expect(await net.outside(`${WHO}://${ADDRESSES.host}:${port}/cgi-bin/who`)).toContain(ADDRESSES.outside)
    expect(other).toMatch(/^\d+$/)
    expect((await net.tscrun(['ps', '--format', '{{.Ports}}'])).stdout).toContain(`0.0.0.0:${port}->80/tcp`)
  })

  it('of the kernel’s choice is told by port', async () => {
    await serve('web', ['-p', '80'])
    const [, port] = /^80\/tcp -> 0\.0\.0\.0:(\d+)\n$/.exec((await net.tscrun(['port', 'web'])).stdout) ?? []
    expect(await net.outside(`${WHO}://${ADDRESSES.host}:${port}/cgi-bin/who`)).toContain(ADDRESSES.outside)
  })

  it('is there again after the firewall was flushed and reloaded', async () => {
    await serve('web', ['-p', '8080:80'])
    await net.host('nft flush ruleset')
    const { stderr } = await run(['-p', '8081:80'], 'true')
    expectOneLine(stderr, /^tscrun: publish the ports: .*No such file or directory.* \(has the firewall been flushed\?/)
    expect(await net.tscrun(['network', 'reload'])).toMatchObject({ exitCode: 0 })
    expect(await net.outside(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)).toContain(ADDRESSES.outside)
  })

  it('is there again after somebody removed the bridge: by a reload, and by the next start', async () => {
    await serve('web', ['-p', '8080:80'])
    const answer = (): Promise<string> => net.outside(`${WHO}://${ADDRESSES.host}:8080/cgi-bin/who`)
    await net.host('ip link del tscrun0')
    await expect(answer()).rejects.toThrow('curl')
    expect(await net.tscrun(['network', 'reload'])).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await answer()).toContain(ADDRESSES.outside)
    // To itself by the host's address: its port of the bridge sends back where it came from.
    expect(
      (await net.tscrun(['exec', 'web', 'wget', '-qO-', `http://${ADDRESSES.host}:8080/cgi-bin/who`])).stdout,
    ).toMatch(/[0-9]/)
    await net.host('ip link del tscrun0')
    expect(await run([], 'ip -o addr show eth0')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await answer()).toContain(ADDRESSES.outside)
  })
})

describe('ports of a container', () => {
  // The command line has gone by then; a program that takes ports back was ended with it.
  it('that ends at once are taken back all the same', async () => {
    for (let round = 0; round < 3; round++) {
      const started = await net.tscrun([
        'run',
        '-d',
        '--rm',
        '-p',
        '8083:80',
        '--rootfs',
        `${machine.rootfs}:O`,
        'true',
      ])
      expect(started).toMatchObject({ exitCode: 0, stderr: '' })
      await eventually(async () => (await net.tscrun(['ps', '-aq'])).stdout === '')
      expect(await net.host('nft list table inet tscrun')).not.toContain('elements')
    }
  })
})

describe('networks', () => {
  it('are apart: no container reaches one of another network, nor does anybody from elsewhere', async () => {
    for (const name of ['front', 'back'])
      expect(await net.tscrun(['network', 'create', name])).toMatchObject({ exitCode: 0 })
    await serve('web', ['--network', 'front'])
    const address = await field('web', '{{.NetworkSettings.Networks.front.IPAddress}}')
    const ask = `nc -w 2 ${address} 80 </dev/null`
    expect(await run(['--network', 'front'], ask)).toMatchObject({ exitCode: 0 })
    expect(await run(['--network', 'back'], ask)).not.toMatchObject({ exitCode: 0 })
    expect(await run(['--network', 'front,back'], `${ask}; ip -o link`)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/eth0[^]*eth1/) as unknown,
    })
    await net.outside(`ip route replace ${address}/32 via ${ADDRESSES.host}`)
    await expect(net.outside(`${WHO}://${address}/cgi-bin/who`)).rejects.toThrow('curl')
  })

  it('that are internal have no way out, and the containers reach each other', async () => {
    await net.tscrun(['network', 'create', '--internal', 'inner'])
    await serve('web', ['--network', 'inner'])
    const address = await field('web', '{{.NetworkSettings.Networks.inner.IPAddress}}')
    const { stdout } = await run(
      ['--network', 'inner'],
      `nc -w 2 ${address} 80 </dev/null && echo reached; ip route | grep -c default; ping -c 1 -W 1 ${ADDRESSES.outside} || echo no`,
    )
    expect(stdout).toMatch(/^reached\n0\n/)
    expect(stdout).toMatch(/no\n$/)
  })

  it('give the address that is asked for, once', async () => {
    await net.tscrun(['network', 'create', '--subnet', '10.99.1.0/29', '--gateway', '10.99.1.6', 'small'])
    await serve('web', ['--network', 'small', '--ip', '10.99.1.3', '--mac-address', '0a:00:00:00:00:07'])
    expect((await net.tscrun(['exec', 'web', 'ip', 'addr', 'show', 'eth0'])).stdout).toMatch(
      /0a:00:00:00:00:07[^]*10\.99\.1\.3\/29/,
    )
    const again = await run(['--network', 'small', '--ip', '10.99.1.3'], 'true')
    expectOneLine(again.stderr, /^tscrun: --ip 10\.99\.1\.3: a container of network small has it/)
    const elsewhere = await run(['--network', 'small', '--ip', '10.98.1.3'], 'true')
    expectOneLine(elsewhere.stderr, /^tscrun: --ip 10\.98\.1\.3: it is not in network small \(10\.99\.1\.0\/29\)/)
  })

  it('that are full say so', async () => {
    await net.tscrun(['network', 'create', '--subnet', '10.99.2.0/30', 'tiny'])
    await serve('one', ['--network', 'tiny'])
    const { exitCode, stderr } = await run(['--network', 'tiny'], 'true')
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: network tiny: all addresses of 10\.99\.2\.0\/30 are in use/)
  })

  it('refuse subnets that overlap with one another, and with routes of the host', async () => {
    await net.tscrun(['network', 'create', '--subnet', '10.99.3.0/24', 'first'])
    const second = await net.tscrun(['network', 'create', '--subnet', '10.99.0.0/16', 'second'])
    expectOneLine(second.stderr, /^tscrun: --subnet 10\.99\.0\.0\/16: network first has 10\.99\.3\.0\/24/)
    const third = await net.tscrun(['network', 'create', '--subnet', '198.51.100.0/25', 'third'])
    expectOneLine(third.stderr, /^tscrun: --subnet 198\.51\.100\.0\/25: this host has a route to 198\.51\.100\.0\/24/)
  })

  it('that are used stay, and go with their bridge when nobody has them', async () => {
    await net.tscrun(['network', 'create', 'mine'])
    await serve('web', ['--network', 'mine'])
    const bridge = (await net.tscrun(['network', 'inspect', '-f', '{{.Interface}}', 'mine'])).stdout.trim()
    expect(await net.host('ip -br link')).toContain(bridge)
    const { exitCode, stderr } = await net.tscrun(['network', 'rm', 'mine'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: network mine: containers have it: web \(/)
    await net.tscrun(['rm', '-f', 'web'])
    expect((await net.tscrun(['network', 'rm', 'mine'])).stdout).toBe('mine\n')
    expect(await net.host('ip -br link')).not.toContain(bridge)
    expect(await net.tscrun(['network', 'exists', 'mine'])).toMatchObject({ exitCode: 1 })
  })

  it('that are not there are an error that names what would make one', async () => {
    const { exitCode, stderr } = await run(['--network', 'nowhere'], 'true')
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: network nowhere: there is none of this name \(.*network create nowhere/)
  })
})

describe('where things go wrong', () => {
  it('forty at once have forty addresses', async () => {
    // All of them run until the last has told its own: one that has ended may be followed by another at its address.
    const script = 'ip -o -4 addr show eth0 | sed "s/.*inet //; s/ .*//"; read line'
    const flags = ['--rm', '-i', '--network', 'bridge', '--rootfs', `${machine.rootfs}:O`]
    const all = Array.from(
      { length: 40 },
      () => net.tscrun(['run', ...flags, 'sh', '-c', script], { stdin: 'pipe' }) as Running,
    )
    await Promise.all(all.map((running) => Promise.race([once(running.stdout, 'data'), running])))
    for (const running of all) running.stdin?.end('\n')
    const ended = await Promise.all(all)
    expect(ended.map(({ exitCode, stderr }) => `${exitCode} ${stderr}`)).toEqual(ended.map(() => '0 '))
    expect(new Set(ended.map(({ stdout }) => stdout)).size).toBe(40)
  })
})
