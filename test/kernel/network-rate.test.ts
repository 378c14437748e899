import { join } from 'node:path'
import { writeFileSync, mkdirSync } from 'node:fs'
import { afterEach, expect, it } from 'vitest'
import { useHostNetwork } from './fixtures/host-network.ts'
import { type Ended, expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
const net = useHostNetwork(machine)

afterEach(async () => {
  await net.tscrun(['rm', '-af'])
})

const start = (...flags: readonly string[]): Promise<Ended> =>
  net.tscrun(['run', '-d', '--name', 'held', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000'])

/** What holds what leaves the container, and what the host sends to it, in tc(8)'s words. */
async function held(): Promise<{ readonly out: string; readonly in: string }> {
  const { stdout: pid } = await net.tscrun(['inspect', '-f', '{{.State.Pid}}', 'held'])
  return {
    out: await net.host(`nsenter -t ${pid.trim()} -n tc qdisc show dev eth0 root`),
    in: await net.host('tc qdisc show dev "$(ip -o link show type veth | grep -o "tv[0-9a-f]*")" root'),
  }
}

it('holds both directions, at the end of the pair that the data leaves by', async () => {
  expect(await start('--network', 'bridge', '--network-rate', '10M/2.5Mbit')).toMatchObject({ exitCode: 0 })
  const { out, in: into } = await held()
  expect(out).toMatch(/^qdisc tbf .* rate 2500Kbit burst 128Kb/)
  expect(into).toMatch(/^qdisc tbf .* rate 10Mbit burst 128Kb/)
})

it('holds one of them, with a burst that grows with the rate, and again after a restart', async () => {
  expect(await start('--network', 'bridge', '--network-rate', '/40G')).toMatchObject({ exitCode: 0 })
  await net.tscrun(['restart', '-t', '0', 'held'])
  const { out, in: into } = await held()
  // 10 ms of 40 Gbit/s.
  expect(out).toMatch(/^qdisc tbf .* rate 40Gbit burst 4999\d{4}b/)
  expect(into).not.toContain('tbf')
})

it('is the bandwidth of CNI plugins', async () => {
  const directory = join(machine.store, '..', 'net.d')
  mkdirSync(directory)
  const ipam = { type: 'host-local', dataDir: join(directory, 'leases'), subnet: '10.88.8.0/24' }
  const plugins = [
    { type: 'bridge', bridge: 'cni8', ipam },
    { type: 'bandwidth', capabilities: { bandwidth: true } },
  ]
  writeFileSync(join(directory, 'a.conflist'), JSON.stringify({ cniVersion: '1.0.0', name: 'a', plugins }))
  const env = { NETCONFPATH: directory }
  const ended = await net.tscrun(
    [
      'run',
      '-d',
      '--name',
      'held',
      '--network=cni:a',
      '--network-rate=3M/4M',
      `--rootfs=${machine.rootfs}:O`,
      'sleep',
      '9',
    ],
    { env },
  )
  expect(ended).toMatchObject({ exitCode: 0 })
  const shown = await net.host('tc qdisc show')
  expect(shown).toContain('rate 3Mbit')
  expect(shown).toContain('rate 4Mbit')
  await net.tscrun(['rm', '-f', 'held'], { env })
  expect(await net.host('tc qdisc show')).not.toContain('tbf')
})

it.each([
  [
    'its processes could lift',
    ['--network', 'bridge', '--cap-add', 'NET_ADMIN', '--network-rate', '1M/1M'],
    /NET_ADMIN/,
  ],
  ['is none', ['--network', 'bridge', '--network-rate', 'fast'], /--network-rate fast: "fast" is no rate/],
  ['nothing gets through', ['--network', 'bridge', '--network-rate', '1k'], /1k is not between 8k and 1000G/],
  ['has no network', ['--network', 'none', '--network-rate', '1M'], /--network-rate 1M: --network none gives it no/],
])('a rate that %s is an error', async (_name, flags, words) => {
  const ended = await start(...flags)
  expect(ended.exitCode).toBe(125)
  expectOneLine(ended.stderr, words)
})
