import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Options } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { makeHostNetwork, useHostNetwork } from './fixtures/host-network.ts'
import { type Ended, expectOneLine, makeMachine, useMachine, PROJECT, type Running, until } from './fixtures/machine.ts'
import { expectNode, type Request, request, WITHOUT_NODE } from './fixtures/prepared.ts'

const machine = useMachine()
const net = useHostNetwork(machine)
afterEach(expectNoLeases)

/** What was begun for a program goes beside its end. */
async function expectNoLeases(): Promise<void> {
  await until(() => leases().length === 0)
}

const leases = (): string[] => {
  const directory = join(machine.store, 'leases')
  return readdirSync(directory).flatMap((network) => readdirSync(join(directory, network)))
}

const run = (flags: readonly string[], command: readonly string[], options: Options = {}): Promise<Ended> =>
  net.tscrun(['run', '--rm', ...flags, '--rootfs', `${machine.rootfs}:O`, ...command], options)

/** The same words, given on that host. */
const asked = (flags: readonly string[], command: readonly string[]): Request =>
  request({ ...machine, run: (...words) => run(...words) as Running }, flags, command)

const SHOW = ['sh', '-c', 'ip -o addr show eth0; ip route; ip -6 route; cat /etc/hosts; hostname']

/** What a container says of its addresses. */
function told(text: string): { readonly ip: string; readonly ip6: string; readonly hosts: string } {
  const [, ip = ''] = /inet (10\.110\.\d+\.\d+)\/16 /.exec(text) ?? []
  const [, ip6 = ''] = /inet6 (fd[0-9a-f:]+)\/64 /.exec(text) ?? []
  return {
    ip,
    ip6,
    hosts: text
      .split('\n')
      .filter((line) => line.startsWith(ip) || line.startsWith(ip6))
      .join('\n'),
  }
}

describe('a container that is asked for no network', () => {
  it('has the default one, as with its name, and none with --network none or that setting', async () => {
    expect((await run([], SHOW)).stdout).toMatch(/inet 10\.110\.\d+\.\d+\/16 [^]*default via 10\.110\.0\.1 dev eth0/)
    const links = ['sh', '-c', 'ls /sys/class/net']
    expect((await run([], links)).stdout).toBe('eth0\nlo\n')
    expect((await run(['--network', 'none'], links)).stdout).toBe('lo\n')
    expect((await run([], links, { env: { TSCRUN_NETWORK: 'none' } })).stdout).toBe('lo\n')
    expect((await run(['--network', 'bridge'], links, { env: { TSCRUN_NETWORK: 'none' } })).stdout).toBe('eth0\nlo\n')
  })

  it('has it again without Node, with addresses and a link of its own', async () => {
    const start = asked([], SHOW)
    const seen = [await start.prepare(), await start.replay(), await start.replay()].map(({ stdout }) => {
      const { ip, ip6, hosts } = told(stdout)
      const name = stdout.trimEnd().split('\n').at(-1)
      expect(hosts).toMatch(new RegExp(`^${ip} ${name} .*\n${ip6} ${name} `))
      return [ip, ip6]
    })
    expect(new Set(seen.map(([ip]) => ip)).size).toBe(3)
    expect(new Set(seen.map(([, ip6]) => ip6)).size).toBe(3)
  })

  it('is found by others under the addresses that it has', async () => {
    const start = asked(['-i'], ['sh', '-c', `${SHOW[2]}; read line`])
    await start.prepare({ input: '\n', stdin: 'pipe' })
    const running = start.replay({ stdin: 'pipe' })
    const [first] = (await new Promise((resolve) =>
      running.stdout.once('data', (data) => resolve([String(data)])),
    )) as string[]
    const [id = ''] = (await net.tscrun(['ps', '-q', '--no-trunc'])).stdout.trim().split('\n')
    const { ip, ip6 } = told(first ?? '')
    expect(leases().toSorted()).toEqual([ip, ip6].toSorted())
    const { stdout } = await net.tscrun([
      'inspect',
      '-f',
      '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}}',
      id,
    ])
    const [address, mac] = stdout.trim().split(' ')
    expect(address).toBe(ip)
    expect((await net.tscrun(['exec', id, 'cat', '/sys/class/net/eth0/address'])).stdout).toBe(`${mac}\n`)
    expect(await net.host('ip -br link')).toContain(`tv0${id.slice(0, 11)}`)
    running.stdin?.end('\n')
    expect((await running).exitCode).toBe(0)
  })

  it('is made by Node again where the bridge is gone, or another one, and that puts it right', async () => {
    const start = asked([], ['ping', '-c', '1', '-W', '2', '10.110.0.1'])
    expect((await start.prepare()).exitCode).toBe(0)
    await net.host('ip link del tscrun0')
    await expectNode(start.replay())
    expect((await start.prepare()).exitCode).toBe(0)
    expect((await start.replay()).exitCode).toBe(0)
    await net.tscrun(['network', 'reload'])
    await expectNode(start.replay())
  })

  it('has it in a program that starts one after the other and several at once, each with an address of its own', async () => {
    const script = `
      import { createEngine } from '${PROJECT}dist/index.js'
      const engine = createEngine({ root: '${machine.store}', runRoot: '${machine.runRoot}' })
      const options = { rootfs: { path: '${machine.rootfs}', overlay: true }, network: 'bridge' }
      const show = 'ip -o -4 addr show eth0; ping -c 1 -W 3 10.110.0.1; cat /etc/hosts'
      const start = async () => {
        const { stdout } = await engine.run(undefined, ['sh', '-c', show], options)
        const [, address] = /inet ([0-9.]+)/.exec(stdout) ?? []
        if (!stdout.includes('1 packets received') || !stdout.includes(address + ' ')) throw new Error(stdout)
        return address
      }
      const all = []
      for (let i = 0; i < 6; i++) all.push(await start())
      for (let i = 0; i < 3; i++) all.push(...(await Promise.all(Array.from({ length: 6 }, start))))
      console.log(new Set(all.slice(-6)).size, all.length)`
    const file = join(machine.directory, 'starts.mjs')
    writeFileSync(file, script)
    expect(await net.host(`${process.execPath} ${file}`)).toBe('6 24')
  })

  it('has none where there is no nft, which is said once; who asks for one gets an error', async () => {
    // A machine of its own: nothing has been brought up there.
    const other = makeMachine()
    const without = await makeHostNetwork(other)
    const hidden = (args: readonly string[]): Promise<Ended> =>
      without.tscrun(args, {}, ['unshare', '-m', 'sh', '-c', 'mount --bind /dev/null /usr/sbin/nft && exec "$@"', 'sh'])
    const words = ['--rm', '--rootfs', `${other.rootfs}:O`, 'ls', '/sys/class/net']
    try {
      const first = await hidden(['run', ...words])
      expect(first).toMatchObject({ exitCode: 0, stdout: 'lo\n' })
      expectOneLine(first.stderr, /^tscrun: warning: the container has no network: the program nft is not installed \(/)
      expect(await hidden(['run', ...words])).toMatchObject({ exitCode: 0, stdout: 'lo\n', stderr: '' })
      for (const flags of [
        ['--network', 'bridge'],
        ['-p', '80'],
      ]) {
        const { exitCode, stderr } = await hidden(['run', ...flags, ...words])
        expect(exitCode).toBe(125)
        expectOneLine(stderr, /^tscrun: network: the program nft is not installed \(install the package nftables/)
      }
      expect(await without.host('ip -br link')).not.toContain('tscrun')
      expect(readFileSync(join(other.runRoot, 'no-network'), 'utf8')).toContain('nft')
      expect((await without.tscrun(['run', ...words], { env: WITHOUT_NODE })).exitCode).toBe(125)
      expect((await without.tscrun(['run', ...words])).stdout).toBe('eth0\nlo\n')
    } finally {
      without.dispose()
      other.dispose()
    }
  })
})
