import { afterEach, describe, expect, it } from 'vitest'
import { useHostNetwork } from './fixtures/host-network.ts'
import { expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
const net = useHostNetwork(machine)

afterEach(async () => {
  await net.tscrun(['rm', '-af'])
  await net.tscrun(['network', 'prune', '-f'])
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
