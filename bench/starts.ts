import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { compileStatic, makeRootfs, writeBundle } from './bundle.ts'
import { type Contender, command, interleave, p50, type Row, timed } from './measure.ts'

/** What of the library is measured. */
export interface Library {
  createEngine(options: { root: string; runRoot: string }): {
    run(image: undefined, args: readonly string[], options: object): Promise<{ readonly stdout: string }>
  }
}

export interface Stage {
  /** The checkout. */
  readonly root: string
  /** A fresh directory for everything that is made. */
  readonly work: string
  /** The same where state lies that ends with the machine: memory, as a rule. */
  readonly run: string
  readonly library: Library
}

export interface Group {
  readonly name: string
  readonly title: string
  readonly rows: readonly Row[]
  /** The row that the others are compared with. */
  readonly subject: string
  /** Where a tree was made: how many names it has, and who has made the same. Older results have none. */
  readonly tree?: { readonly entries: number; readonly equalTo: 'umoci' }
}

/** Commands and the library, ready to be timed. */
export interface Contest {
  readonly timer: string
  readonly argv: Readonly<Record<'tscrun' | 'crun' | 'runc' | 'podman', readonly string[]>>
  /** Peers that are installed and can run here. */
  readonly peers: readonly ('crun' | 'runc' | 'podman')[]
  readonly inProcess: () => Promise<unknown>
  readonly payload: string
  readonly skipped: readonly string[]
}

/** Compiles the payload, makes bundles, tries each contender once and looks at how it confined the payload. */
export async function prepareContest(stage: Stage): Promise<Contest> {
  const { root, work, run, library } = stage
  const timer = join(work, 'timer')
  compileStatic(join(root, 'bench/timer.c'), timer)
  const rootfs = join(work, 'rootfs')
  makeRootfs(rootfs, join(root, 'bench/payload.c'))
  for (const [name, args] of [
    ['bundle', ['/true']],
    ['bundle-show', ['/true', 'show']],
  ] as const) {
    writeBundle(join(work, name), rootfs, args)
  }
  const at = { root: join(work, 'store'), runRoot: join(run, 'tscrun') }
  const argv = commands(stage, rootfs, at, 'bundle')
  const engine = library.createEngine(at)
  const options = { rootfs: { path: rootfs, overlay: true }, network: 'none' }
  const inProcess = (args: readonly string[] = ['/true']): Promise<{ readonly stdout: string }> =>
    engine.run(undefined, args, options)

  expectConfined('tscrun (library)', (await inProcess(['/true', 'show'])).stdout, true)
  // A resident process has run containers before: what is hot is compiled.
  for (let warm = 0; warm < 50; warm++) await inProcess()
  const shown = commands(stage, rootfs, at, 'bundle-show')
  const skipped: string[] = []
  const peers = (['crun', 'runc', 'podman'] as const).filter((name) => {
    const [program = '', ...args] = [...shown[name], ...(name === 'podman' ? ['show'] : [])].map((arg) =>
      arg === '@id' ? `bench-${process.pid}` : arg,
    )
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
    if (status === 0) expectConfined(name, stdout, name !== 'podman')
    else skipped.push(`${name}: ${stderr?.trim() || 'not installed'}`)
    return status === 0
  })
  return { timer, argv, peers, inProcess, payload: join(rootfs, 'true'), skipped }
}

/** A filter, docker's 14 capabilities, and (all but podman, whose default it is not) a user namespace. */
function expectConfined(name: string, shown: string, userNamespace: boolean): void {
  const field = (key: string): string | undefined => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(shown)?.[1]
  const mapped = /^\s+0\s+0\s+4294967295$/m.test(shown)
  if (field('Seccomp') !== '2') throw new Error(`${name}: no seccomp filter is in force`)
  if (userNamespace && (mapped || field('CapEff') !== '00000000a80425fb')) {
    throw new Error(`${name}: CapEff ${field('CapEff')}, ${mapped ? 'no user namespace' : 'own user namespace'}`)
  }
}

/** `@id` becomes a name of its own in each run. */
function commands(
  { root, work, run }: Stage,
  rootfs: string,
  at: { root: string; runRoot: string },
  bundle: string,
): Contest['argv'] {
  // Limits are lowered: without CAP_SYS_RESOURCE podman cannot raise them to what it would like.
  const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
  const podmanStore = ['--root', join(work, 'podman'), '--runroot', join(run, 'podman')]
  return {
    tscrun: [
      join(root, 'bin/tscrun'),
      '--root',
      at.root,
      '--runroot',
      at.runRoot,
      'run',
      '--rm',
      '--network',
      'none',
      '--rootfs',
      `${rootfs}:O`,
      '/true',
    ],
    // Its device filter needs CAP_SYS_RESOURCE, for the limit on locked memory: without a cgroup it has none.
    crun: ['crun', '--cgroup-manager=disabled', '--root', join(run, 'crun'), 'run', '-b', join(work, bundle), '@id'],
    runc: ['runc', '--root', join(run, 'runc'), 'run', '-b', join(work, bundle), '@id'],
    podman: [
      'podman',
      ...podmanStore,
      'run',
      '--rm',
      '--network',
      'none',
      '--cgroups=disabled',
      ...limits,
      '--rootfs',
      `${rootfs}:O`,
      '/true',
    ],
  }
}

/** One-shot commands, with and without what slows Node's start. */
export async function oneShot(stage: Stage, contest: Contest, rounds: number): Promise<Group> {
  const { timer, argv } = contest
  const { NODE_EXTRA_CA_CERTS: _, ...plain } = process.env
  const bundle = '/etc/ssl/certs/ca-certificates.crt'
  const extra = { ...plain, NODE_EXTRA_CA_CERTS: bundle }
  const version = [join(stage.root, 'bin/tscrun'), 'version']
  const node = [process.execPath, '-e', '0']
  const both = (name: string, words: readonly string[]): Contender[] => [
    command(name, words, { timer, env: plain }),
    ...(existsSync(bundle) ? [command(`${name}, extra certificates`, words, { timer, env: extra })] : []),
  ]
  const contenders = [
    ...both('node -e 0', node),
    ...both('tscrun run --rm', argv.tscrun),
    firstStart(stage, contest, plain),
    ...both('tscrun version', version),
    ...contest.peers.map((name) => command(name, argv[name], { timer, env: plain })),
    ...launchers(stage, contest, plain),
  ]
  return {
    name: 'one-shot',
    title: 'one-shot commands, ms',
    rows: await interleave(contenders, rounds),
    subject: 'tscrun run --rm',
  }
}

/** As `tscrun run --rm` whose command line was never seen: what it keeps for the next time is part of it. */
function firstStart({ work }: Stage, { timer, argv }: Contest, env: NodeJS.ProcessEnv): Contender {
  const { name, run } = command('tscrun run --rm, the first time', argv.tscrun, { timer, env })
  return {
    name,
    run: () => {
      rmSync(join(work, 'store/prepared'), { recursive: true, force: true })
      return run()
    },
  }
}

/** The payload in the place of Node: what bin/tscrun and the launcher add. */
function launchers({ root }: Stage, { timer, payload }: Contest, plain: NodeJS.ProcessEnv): Contender[] {
  const env = { ...plain, TSCRUN_NODE: payload }
  return [
    command('a static program', [payload], { timer, env }),
    command('... through the launcher', [join(root, 'native', process.arch, 'launcher')], { timer, env }),
    command('... through bin/tscrun', [join(root, 'bin/tscrun')], { timer, env }),
  ]
}

/** `await run()` in this process beside the OCI runtimes as commands. */
export async function inProcess(contest: Contest, rounds: number): Promise<Group> {
  const { timer, argv, peers } = contest
  const runtimes = peers.filter((name) => name !== 'podman')
  const contenders = [
    { name: 'tscrun in process', run: () => timed(contest.inProcess) },
    ...runtimes.map((name) => command(name, argv[name], { timer })),
  ]
  return {
    name: 'in-process',
    title: 'run in a resident process, ms',
    rows: await interleave(contenders, rounds),
    subject: 'tscrun in process',
  }
}

/** The longest time that one run keeps the event loop from turning. */
export async function longestBlock(contest: Contest, rounds: number): Promise<Group> {
  const run = async (): Promise<number> => {
    let longest = 0
    let running = true
    let before = process.hrtime.bigint()
    const turn = (): void => {
      const now = process.hrtime.bigint()
      longest = Math.max(longest, Number(now - before) / 1e6)
      before = now
      if (running) setImmediate(turn)
    }
    setImmediate(turn)
    await contest.inProcess()
    running = false
    return longest
  }
  const rows = await interleave([{ name: 'tscrun in process', run }], rounds)
  return { name: 'block', title: 'longest block of the event loop by one run, ms', rows, subject: 'tscrun in process' }
}

export const AT_ONCE = 8

/** 100 containers, 8 at a time; podman's 20 are shown as if they were 100. */
export async function parallel(contest: Contest, rounds: number): Promise<Group> {
  const { timer, argv, peers } = contest
  const contenders: Contender[] = [
    { name: 'tscrun in process', run: () => timed(() => many(contest.inProcess, 100)) },
    command('tscrun run --rm', argv.tscrun, { timer, count: 100, jobs: AT_ONCE }),
    ...peers.map((name): Contender => {
      const count = name === 'podman' ? 20 : 100
      const { run } = command(name, argv[name], { timer, count, jobs: AT_ONCE })
      return { name, run: async () => ((await run()) * 100) / count }
    }),
  ]
  return {
    name: 'parallel',
    title: '100 starts, 8 at a time, ms',
    rows: await interleave(contenders, rounds),
    subject: 'tscrun in process',
  }
}

async function many(action: () => Promise<unknown>, count: number): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await action()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

/** The median of a row; NaN where it was not measured. */
export function median(group: Group | undefined, name: string): number {
  return p50(group?.rows.find((row) => row.name === name)?.samples ?? [])
}
