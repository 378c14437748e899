import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { interleave } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

/** What goes through a container's link from the host, by iperf3, beside podman's bridge. */
export async function throughput(
  stage: Stage,
  contest: Contest,
  options: { readonly rounds: number; readonly gigabytes: number },
): Promise<Group> {
  const host = await networkHost()
  const made = (['tscrun', 'podman'] as const).filter((name) => name === 'tscrun' || contest.peers.includes(name))
  const servers = made.map((name) => server(name, contest.argv[name], host, stage))
  try {
    const rows = await interleave(
      servers.map((each) => ({ name: each.name, run: async () => transfer(host, each.address, options.gigabytes) })),
      options.rounds,
    )
    return {
      name: 'throughput',
      title: `${options.gigabytes} GB into a container over its bridge, ms`,
      rows,
      subject: 'tscrun',
    }
  } finally {
    for (const each of servers) each.remove()
    host.kill('SIGKILL')
  }
}

/** A host of its own as far as networks go: nothing of the machine's is changed. */
export async function networkHost(): Promise<ChildProcess> {
  const script = `ip link set lo up
    ip link add up0 type veth peer name up1; ip addr add 198.51.100.1/24 dev up0; ip link set up0 up; ip link set up1 up
    ip route add default via 198.51.100.2; echo ready; exec sleep infinity`
  const host = spawn('unshare', ['-n', 'sh', '-euc', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(host.stdout, 'data')
  return host
}

export const enter = (host: ChildProcess): string[] => ['nsenter', '-t', String(host.pid), '-n', '--']

interface Server {
  readonly name: string
  readonly address: string
  remove(): void
}

function server(name: 'tscrun' | 'podman', words: readonly string[], host: ChildProcess, { work }: Stage): Server {
  const globals = words.slice(1, words.indexOf('run'))
  const flags = words.slice(words.indexOf('run') + 1, words.indexOf('--rootfs'))
  const own = flags.filter((flag, index) => flag !== '--rm' && flag !== '--network' && flags[index - 1] !== '--network')
  // Its own lists of networks, not the machine's.
  const places = name === 'podman' ? ['--network-config-dir', `${work}/podman-networks`] : []
  const [program = '', ...before] = [...enter(host), words[0] ?? '', ...globals, ...places]
  const call = (...args: string[]): string => execFileSync(program, [...before, ...args], { encoding: 'utf8' }).trim()
  const container = `bench-net-${process.pid}`
  const network = name === 'podman' ? 'podman' : 'bridge'
  call('run', '-d', '--name', container, ...own, '--network', network, '--rootfs', '/:O', 'iperf3', '-s')
  const key = '{{.NetworkSettings.IPAddress}}'
  return {
    name: name === 'podman' ? 'podman (bridge)' : name,
    address: call('inspect', '-f', key, container),
    remove: () =>
      void spawnSync(program, [...before, 'rm', '-f', ...(name === 'podman' ? ['-t', '0'] : []), container]),
  }
}

/** Milliseconds. The server takes one client at a time, and is a moment late after the one before. */
function transfer(host: ChildProcess, address: string, gigabytes: number): number {
  const [program = '', ...words] = enter(host)
  for (let tries = 0; tries < 50; tries++) {
    const args = ['iperf3', '-c', address, '-n', `${gigabytes}G`, '-J']
    const { stdout } = spawnSync(program, [...words, ...args], { encoding: 'utf8' })
    const { error, end } = JSON.parse(stdout) as {
      readonly error?: string
      readonly end?: { readonly sum_received?: { readonly seconds: number; readonly bytes: number } }
    }
    const received = end?.sum_received
    if (error === undefined && received !== undefined)
      return (received.seconds * 1000 * gigabytes * 2 ** 30) / received.bytes
    spawnSync('sleep', ['0.1'])
  }
  throw new Error(`iperf3: no server at ${address}`)
}
