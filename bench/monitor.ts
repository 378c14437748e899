import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compileStatic } from './bundle.ts'
import { interleave, type Row } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

/** What a supervisor has given back when nothing happens is seen after this time. */
const SETTLE_MS = 3000

/** Programs that run containers in the background, and who supervises them. */
interface Background {
  readonly name: string
  start(container: string, command: readonly string[]): void
  supervisor(container: string): number | undefined
  remove(container: string): void
}

/** The memory of who supervises an idle container (PSS), beside conmon and containerd's shim. */
export async function memory(stage: Stage, contest: Contest, count: number): Promise<Group> {
  const rootfs = join(stage.work, 'rootfs')
  compileStatic(join(stage.root, 'bench/idle.c'), join(rootfs, 'idle'))
  const containerd = await startContainerd(stage)
  const rows: Row[] = []
  try {
    for (const engine of [...engines(contest, rootfs), ...(containerd === undefined ? [] : [containerd.engine])]) {
      const names = Array.from({ length: count }, (_, index) => `bench-idle-${process.pid}-${index}`)
      try {
        // One alone shares nothing with its like.
        for (const [row, some] of [
          [`${engine.name}, one`, names.slice(0, 1)],
          [`${engine.name}, each of ${count}`, names.slice(1)],
        ] as const) {
          for (const name of some) engine.start(name, ['/idle'])
          await sleep(SETTLE_MS)
          const all = row.endsWith('one') ? some : names
          rows.push({ name: row, samples: all.map((name) => pssKb(engine.supervisor(name))) })
        }
      } finally {
        for (const name of names) engine.remove(name)
      }
    }
  } finally {
    containerd?.process.kill('SIGKILL')
  }
  return { name: 'memory', title: 'memory of a supervisor, kB of PSS', rows, subject: 'tscrun, one' }
}

/** How long a container takes that writes `megabytes` into its log; rotated, and with the engine's own format. */
export async function logs(
  stage: Stage,
  contest: Contest,
  options: { rounds: number; megabytes: number },
): Promise<Group> {
  const rootfs = join(stage.work, 'rootfs')
  compileStatic(join(stage.root, 'test/soak/writer.c'), join(rootfs, 'writer'))
  const command = ['/writer', String(options.megabytes * 1_000_000)]
  let run = 0
  const contenders = engines(contest, rootfs).map((engine) => ({
    name: engine.name,
    run: async (): Promise<number> => {
      const name = `bench-log-${process.pid}-${run++}`
      const begin = process.hrtime.bigint()
      engine.start(name, command)
      const pid = engine.supervisor(name)
      while (pid !== undefined && existsSync(`/proc/${pid}`)) await sleep(5)
      const took = Number(process.hrtime.bigint() - begin) / 1e6
      engine.remove(name)
      return took
    },
  }))
  const rows = await interleave(contenders, options.rounds)
  return { name: 'logs', title: `${options.megabytes} MB through the log, ms`, rows, subject: 'tscrun' }
}

function engines({ argv, peers }: Contest, rootfs: string): Background[] {
  const made = (['tscrun', 'podman'] as const).filter((name) => name === 'tscrun' || peers.includes(name))
  return made.map((name) => {
    const words = argv[name]
    const [program = '', ...globals] = words.slice(0, words.indexOf('run'))
    const flags = words.slice(words.indexOf('run') + 1, words.indexOf('--rootfs')).filter((word) => word !== '--rm')
    const call = (...args: string[]): string => execFileSync(program, [...globals, ...args], { encoding: 'utf8' })
    const log = ['--log-driver', 'k8s-file', '--log-opt', 'max-size=10m']
    return {
      name: name === 'podman' ? 'conmon (podman)' : name,
      start: (container, command) =>
        void call('run', '-d', '--name', container, ...flags, ...log, '--rootfs', `${rootfs}:O`, ...command),
      supervisor: (container) =>
        name === 'tscrun'
          ? withCommand(`tscrun: ${container}`)
          : Number(call('inspect', '-f', '{{.State.ConmonPid}}', container)),
      remove: (container) => {
        const now = name === 'podman' ? ['-t', '0'] : []
        spawnSync(program, [...globals, 'rm', '-f', ...now, container])
      },
    }
  })
}

/** Debian's containerd, unpacked for the tests, in directories of its own; undefined where it is not there. */
async function startContainerd({
  root,
  work,
  run,
}: Stage): Promise<{ readonly engine: Background; readonly process: ChildProcess } | undefined> {
  const bin = join(root, 'test/.cache/packages/containerd/usr/bin')
  if (!existsSync(join(bin, 'containerd'))) return undefined
  const directory = join(work, 'containerd')
  const socket = join(run, 'containerd.sock')
  mkdirSync(directory, { recursive: true })
  const lines = [`root = "${directory}/root"`, `state = "${directory}/state"`, '[grpc]', `address = "${socket}"`]
  writeFileSync(join(directory, 'config'), ['version = 2', ...lines, ''].join('\n'))
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }
  const log = openSync(join(directory, 'log'), 'a')
  const daemon = spawn('containerd', ['--config', join(directory, 'config')], { env, stdio: ['ignore', log, log] })
  const ctr = (...args: string[]): { readonly status: number | null; readonly stderr: string } =>
    spawnSync('ctr', ['-a', socket, ...args], { env, encoding: 'utf8', timeout: 20_000 })
  for (let tries = 0; ctr('version').status !== 0; tries++) {
    if (tries === 50) return void daemon.kill('SIGKILL')
    await sleep(100)
  }
  const rootfs = join(work, 'rootfs')
  const engine: Background = {
    name: 'containerd-shim-runc-v2',
    start: (container, command) => {
      // Without limits: there may be no cpu controller.
      const { status, stderr } = ctr('run', '-d', '--cpu-shares', '0', '--rootfs', rootfs, container, ...command)
      if (status !== 0) throw new Error(`ctr run: ${stderr}`)
    },
    supervisor: (container) => withCommand(new RegExp(`containerd-shim-runc-v2 .*-id ${container}( |$)`)),
    remove: (container) => {
      ctr('task', 'rm', '-f', container)
      ctr('container', 'rm', container)
    },
  }
  return { engine, process: daemon }
}

function withCommand(wanted: string | RegExp): number | undefined {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const found = pids.find((pid) => {
    const command = commandOf(pid)
    return typeof wanted === 'string' ? command === wanted : wanted.test(command)
  })
  return found === undefined ? undefined : Number(found)
}

function pssKb(pid: number | undefined): number {
  if (pid === undefined) return Number.NaN
  return Number(/^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1])
}

/** Empty where it has ended meanwhile. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trimEnd()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}
