import { once } from 'node:events'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Running } from '../../kernel/fixtures/machine.ts'
import { ADDRESSES, useHostNetwork } from '../../kernel/fixtures/host-network.ts'
import { busyboxRootfs, DATA } from './fixtures/containers.ts'

const net = useHostNetwork({ store: join(DATA, 'vlan'), runRoot: '/run/tscrun-vlan' })

const OWN = '198.51.100.77'
const SCRIPT = `busybox ping -c 1 -W 9 ${ADDRESSES.outside}; busybox ip route; busybox ip link show eth0; read line`
const UNTIL_REACHED = `until busybox ping -c 1 -W 1 ${OWN} >/dev/null; do :; done; echo reached`

// Not every kernel has both kinds of links; this machine's is Debian's, which has.
it.each(['macvlan', 'ipvlan'])(
  'a network of %s puts containers beside the host: others reach them, and they others',
  async (driver) => {
    const subnets = ['--subnet', '198.51.100.0/24', '--gateway', ADDRESSES.outside]
    const made = await net.tscrun(['network', 'create', '-d', driver, '-o', 'parent=up0', ...subnets, driver])
    expect(made).toMatchObject({ exitCode: 0 })
    const reached = net.startOutside(['sh', '-c', UNTIL_REACHED])
    const told = once(reached.stdout ?? expect.fail('no output'), 'data')
    const flags = ['-i', '--network', driver, '--ip', OWN, '--rootfs', `${busyboxRootfs()}:O`]
    const running = net.tscrun(['run', '--rm', ...flags, 'sh', '-c', SCRIPT], { stdin: 'pipe' }) as Running
    expect(String((await told)[0])).toBe('reached\n')
    running.stdin?.end('\n')
    const { exitCode, stdout } = await running
    expect(exitCode).toBe(0)
    expect(stdout).toContain('1 packets received')
    expect(stdout).toContain(`default via ${ADDRESSES.outside}`)
    expect(stdout).toMatch(/^2: eth0@/m)
    expect(await net.host(`ip -br link show type ${driver}`)).toBe('')
  },
)
