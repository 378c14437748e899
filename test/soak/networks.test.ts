import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { randomOf, soakOf } from '../setup/soak.ts'
import { type HostNetwork, makeHostNetwork } from '../kernel/fixtures/host-network.ts'
import { cgroupsOf, expectNothingLeft, isAlive, type Running, until, useMachine } from '../kernel/fixtures/machine.ts'

/** Starts with networks; one in eight of as many is killed on the way. */
const AT_ONCE = 8
const { count, seed } = soakOf('networks', 64)

const machine = useMachine()
let net: HostNetwork
beforeAll(async () => {
  net = await makeHostNetwork(machine)
  await must('network', 'create', 'mine')
  // Bridges, rules, and what the launcher does again.
  for (let round = 0; round < 3; round++) await Promise.all(ORDINARY.map((flags) => must(...words(flags, 'true'))))
})
afterAll(() => {
  net.dispose()
})

const words = (flags: readonly string[], script: string): string[] => {
  const root = ['--rootfs', `${machine.rootfs}:O`]
  return ['run', '--rm', ...flags, ...root, 'sh', '-c', script]
}
const begin = (args: readonly string[]): Running & { readonly pid?: number } => net.tscrun(args) as Running

async function must(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await net.tscrun(args)
  expect({ exitCode, errors: stderr.replaceAll(/^tscrun: warning: .*\n/gm, '') }, args.join(' ')).toEqual({
    exitCode: 0,
    errors: '',
  })
  return stdout
}

/** What a command line asks for; the first two are the launcher's from their second time on. */
const ORDINARY: readonly (readonly string[])[] = [
  [],
  ['--network', 'bridge'],
  ['--network', 'mine'],
  ['-p', '80'],
  ['--network', 'bridge,mine', '-p', '81/udp'],
]

/** Of all containers: links of the host, addresses that are taken, elements of the firewall's maps, names and the like. */
async function expectNothing(): Promise<void> {
  // A namespace's links go in the kernel's own time.
  while (/^tv/m.test(await net.host('ip -br link'))) await sleep(20)
  const directory = join(machine.store, 'leases')
  const leases = readdirSync(directory).flatMap((network) => readdirSync(join(directory, network)))
  expect({ leases, elements: (await net.host('nft list table inet tscrun')).includes('elements') }).toEqual({
    leases: [],
    elements: false,
  })
  expectNothingLeft({ ...machine, runRoot: join(machine.runRoot, 'containers') })
  expect(readdirSync(machine.runRoot).filter((name) => /^[0-9a-f]{64}$/.test(name))).toEqual([])
}

async function manyTimes(times: number, action: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < times) await action(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

it(
  `${count} starts, ${AT_ONCE} at a time, leave no link, address, lease or rule`,
  async () => {
    const seen = new Set<string>()
    await manyTimes(count, async (number) => {
      const flags = ORDINARY[number % 8] ?? []
      if (number % 8 === 7) {
        const id = (await must('run', '-d', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '19319')).trim()
        seen.add(id)
        await must('rm', '-f', id)
      } else {
        seen.add(await must(...words(flags, 'hostname; ip -o addr show eth0')))
      }
    })
    expect(seen.size).toBe(count)
    await expectNothing()
  },
  60_000 + count * 2000,
)

/** The process and what it has started, the command first: launcher or Node, monitor, first process. */
function familyOf(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`
  const children = existsSync(path) ? readUnlessGone(path).split(' ').filter(Boolean).map(Number) : []
  return [pid, ...children.flatMap(familyOf)]
}

function readUnlessGone(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

const kills = Math.ceil(count / 4)

it(
  `${kills} starts that are killed at any moment, the command, its monitor or the first process, are put right by the next command`,
  async () => {
    const random = randomOf(seed)
    const ids = new Set<string>()
    const families: number[] = []
    await manyTimes(kills, async (number) => {
      const [when, who] = [random() * 60, random()]
      const running = begin(words(ORDINARY[number % ORDINARY.length] ?? [], 'sleep 0.05'))
      await sleep(when)
      const family = familyOf(running.pid ?? 0)
      families.push(...family)
      for (const name of readdirSync(machine.runRoot)) if (/^[0-9a-f]{64}$/.test(name)) ids.add(name)
      kill(family[Math.floor(who * family.length)] ?? 0)
      await running
    })
    // A monitor whose command was killed has still to end its container.
    await until(() => !families.some(isAlive))
    await must('ps', '-a')
    // What only the firewall still knows.
    await must('network', 'reload')
    expect([...ids].flatMap(cgroupsOf), `seed ${seed}`).toEqual([])
    await expectNothing()
    // And everything works as before.
    for (const flags of ORDINARY) await must(...words(flags, 'ip -o addr show eth0'))
    await expectNothing()
  },
  60_000 + kills * 4000,
)
