import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { command, type Contender, interleave } from './measure.ts'
import { AT_ONCE, type Contest, type Group, type Stage } from './starts.ts'
import { enter, networkHost } from './throughput.ts'

interface Rounds {
  readonly oneShot: number
  readonly inProcess: number
  readonly parallel: number
}

/**
 * Starts with the default network, on a host of its own as far as networks go, beside podman's with the network that it has
 * by default.
 */
export async function bridge(stage: Stage, contest: Contest, rounds: Rounds): Promise<Group[]> {
  const host = await networkHost()
  const { TSCRUN_NETWORK: _, ...env } = process.env
  const resident = residentEngine(stage, host, env)
  const common = { timer: contest.timer, env, within: enter(host) }
  const tscrun = withDefaultNetwork(contest.argv.tscrun)
  const podman = withDefaultNetwork(contest.argv.podman, ['--network-config-dir', join(stage.work, 'podman-networks')])
  const peer = (count: number): Contender[] => {
    const { name, run } = command('podman run --rm, its bridge', podman, { ...common, count, jobs: AT_ONCE })
    const share = count === 1 ? 1 : 100 / count
    return contest.peers.includes('podman') ? [{ name, run: async () => (await run()) * share }] : []
  }
  const one = [
    command('tscrun run --rm, bridge', tscrun, common),
    command('tscrun run --rm, no network', contest.argv.tscrun, common),
    ...peer(1),
  ]
  // Beside the same peers as without a network, which have none.
  const runtimes = contest.peers.filter((name) => name !== 'podman')
  const inProcess = [
    ...(['bridge', 'none'] as const).map((network) => ({
      name: `tscrun in process, ${network === 'none' ? 'no network' : network}`,
      run: () => resident.run(network, 1, 1),
    })),
    ...runtimes.map((name) => command(`${name}, no network`, contest.argv[name], common)),
  ]
  const many = [
    { name: 'tscrun in process, bridge', run: () => resident.run('bridge', 100, AT_ONCE) },
    command('tscrun run --rm, bridge', tscrun, { ...common, count: 100, jobs: AT_ONCE }),
    ...peer(20),
  ]
  try {
    return [
      // First: after fifty containers of podman's all of them take a quarter longer for a while.
      {
        name: 'bridge-in-process',
        title: 'run in a resident process with the default network, ms',
        rows: await interleave(inProcess, rounds.inProcess),
        subject: 'tscrun in process, bridge',
      },
      {
        name: 'bridge',
        title: 'one-shot commands with the default network, ms',
        rows: await interleave(one, rounds.oneShot),
        subject: 'tscrun run --rm, bridge',
      },
      {
        name: 'bridge-parallel',
        title: '100 starts with the default network, 8 at a time, ms',
        rows: await interleave(many, rounds.parallel),
        subject: 'tscrun run --rm, bridge',
      },
    ]
  } finally {
    resident.end()
    host.kill('SIGKILL')
  }
}

function withDefaultNetwork(argv: readonly string[], globals: readonly string[] = []): string[] {
  const run = argv.indexOf('run')
  const rest = argv.slice(run).filter((word, index, words) => word !== '--network' && words[index - 1] !== '--network')
  return [...argv.slice(0, run), ...globals, ...rest]
}

interface Resident {
  run(network: 'bridge' | 'none', count: number, jobs: number): Promise<number>
  end(): void
}

/** The library in a process on that host; each line says what to time. */
const RESIDENT = `
  const [library, root, runRoot, path] = process.argv.slice(1)
  const { createEngine } = await import(library)
  const { createInterface } = await import('node:readline')
  const engine = createEngine({ root, runRoot })
  const start = (network) => engine.run(undefined, ['/true'], { rootfs: { path, overlay: true }, network })
  // What is hot in a resident process is compiled.
  for (let warm = 0; warm < 50; warm++) for (const network of [undefined, 'none']) await start(network)
  for await (const line of createInterface({ input: process.stdin })) {
    const [network, count, jobs] = line.split(' ')
    let left = Number(count)
    const worker = async () => { while (left-- > 0) await start(network === 'none' ? 'none' : undefined) }
    const begin = process.hrtime.bigint()
    await Promise.all(Array.from({ length: Number(jobs) }, worker))
    console.log(Number(process.hrtime.bigint() - begin) / 1e6)
  }`

function residentEngine({ root, work, run }: Stage, host: ChildProcess, env: NodeJS.ProcessEnv): Resident {
  const places = [join(root, 'dist/index.js'), join(work, 'store'), join(run, 'tscrun'), join(work, 'rootfs')]
  const node = [process.execPath, '--input-type=module', '-e', RESIDENT, '--', ...places]
  const [program = '', ...args] = [...enter(host), ...node]
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines: Interface = createInterface({ input: child.stdout })
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`bench: the engine ended with ${code}`)
  })
  ended.catch(() => undefined)
  return {
    run: async (network, count, jobs) => {
      const answer = once(lines, 'line')
      child.stdin.write(`${network} ${count} ${jobs}\n`)
      return Number((await Promise.race([answer, ended]))[0])
    },
    end: () => void child.kill('SIGKILL'),
  }
}
