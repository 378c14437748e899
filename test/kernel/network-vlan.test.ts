import { spawnSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ADDRESSES, type HostNetwork, makeHostNetwork } from './fixtures/host-network.ts'
import { expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
let net: HostNetwork

beforeAll(async () => {
  net = await makeHostNetwork(machine)
})
afterAll(() => {
  net.dispose()
})
afterEach(async () => {
  await net.tscrun(['rm', '-af'])
  await net.tscrun(['network', 'prune', '-f'])
})

/** Whether the kernel has links of this kind. */
function has(driver: string): boolean {
  const script = `ip link add va type veth peer vb && ip link add link va name vc type ${driver}`
  return spawnSync('unshare', ['-n', 'sh', '-c', script], { stdio: 'ignore' }).status === 0
}

describe.each(['macvlan', 'ipvlan'])('a network of %s', (driver) => {
  it.skipIf(!has(driver))('puts containers beside the host: others reach them, and they others', async () => {
    const subnets = ['--subnet', '198.51.100.0/24', '--gateway', ADDRESSES.outside]
    const made = await net.tscrun(['network', 'create', '-d', driver, '-o', 'parent=up0', ...subnets, 'lan'])
    expect(made).toMatchObject({ exitCode: 0 })
    const flags = ['--network', 'lan', '--ip', '198.51.100.77', '--rootfs', `${machine.rootfs}:O`]
    expect(await net.tscrun(['run', '-d', '--name', 'beside', ...flags, 'sleep', '1000'])).toMatchObject({
      exitCode: 0,
    })
    const asked = await net.tscrun(['exec', 'beside', 'ping', '-c', '1', '-W', '2', ADDRESSES.outside])
    expect(asked.stdout).toContain('1 packets received')
    expect(await net.outside('ping -c 1 -W 2 198.51.100.77')).toContain('1 received')
    const { stdout } = await net.tscrun(['exec', 'beside', 'ip', 'route'])
    expect(stdout).toContain(`default via ${ADDRESSES.outside}`)
    await net.tscrun(['rm', '-f', 'beside'])
    expect(await net.host(`ip -br link show type ${driver}`)).toBe('')
  })
})

describe('a network of none', () => {
  it('gives its containers lo alone, and cannot be removed while one has it', async () => {
    expect(await net.tscrun(['network', 'create', '-d', 'none', 'quiet'])).toMatchObject({ exitCode: 0 })
    const flags = ['--network', 'quiet', '--rootfs', `${machine.rootfs}:O`]
    await net.tscrun(['run', '-d', '--name', 'alone', ...flags, 'sleep', '1000'])
    const { stdout } = await net.tscrun(['exec', 'alone', 'ls', '/sys/class/net'])
    expect(stdout.trim()).toBe('lo')
    const removed = await net.tscrun(['network', 'rm', 'quiet'])
    expect(removed.exitCode).toBe(125)
    expectOneLine(removed.stderr, /quiet/)
    const joined = await net.tscrun(['network', 'connect', 'bridge', 'alone'])
    expectOneLine(joined.stderr, /network connect bridge alone: network quiet has no links/)
  })

  it.each([
    ['ports', ['-p', '80']],
    ['an address', ['--ip', '10.0.0.1']],
    ['another network', ['--network', 'bridge']],
  ])('has no %s', async (_name, flags) => {
    await net.tscrun(['network', 'create', '-d', 'none', 'quiet'])
    const { exitCode, stderr } = await net.tscrun([
      'run',
      '--rm',
      '--network',
      'quiet',
      ...flags,
      '--rootfs',
      `${machine.rootfs}:O`,
      'true',
    ])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /network quiet \(none\): it has no links, addresses or ports/)
  })
})
