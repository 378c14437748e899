import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Container, createEngine } from '../../src/index.ts'
import { soakOf } from '../setup/soak.ts'
import { cgroupsOf, expectNothingLeft, useMachine, until } from '../kernel/fixtures/machine.ts'

/** Lives of containers, by a program and, one in eight, by the command line. */
const AT_ONCE = 8
const { count } = soakOf('cycles', 40)

const machine = useMachine()

const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'user'] as const

/** All that a cycle makes and that could stay behind. */
interface Trace {
  readonly id: string
  readonly namespaces: readonly string[]
}

async function command(...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args)
  expect({ exitCode, stderr }, args.join(' ')).toEqual({ exitCode: 0, stderr: '' })
  return stdout
}

function traceOf(id: string): Trace {
  const state = JSON.parse(readFileSync(join(machine.runRoot, id, 'state.json'), 'utf8')) as { readonly pid: number }
  return { id, namespaces: NAMESPACES.map((name) => readlinkSync(`/proc/${state.pid}/ns/${name}`)) }
}

const MOUNTS = [{ volume: 'shared', target: '/shared' }, { target: '/anonymous' }]

async function byProgram(engine: ReturnType<typeof createEngine>, number: number): Promise<Trace> {
  const rootfs = { path: machine.rootfs, overlay: true }
  const container: Container = await engine.create(undefined, ['sleep', '19317'], { rootfs, volumes: MOUNTS })
  await container.start()
  const trace = traceOf(container.id)
  expect((await container.exec(['echo', String(number)])).stdout).toBe(`${number}\n`)
  await container.stop({ timeoutMs: 0 })
  await container.remove()
  return trace
}

async function byCommands(number: number): Promise<Trace> {
  const name = `cycle${number}`
  const mounts = ['-v', 'shared:/shared', '-v', '/anonymous']
  const id = await command('create', '--name', name, ...mounts, '--rootfs', `${machine.rootfs}:O`, 'sleep', '19317')
  await command('start', name)
  const trace = traceOf(id.trim())
  expect(await command('exec', name, 'echo', String(number))).toBe(`${number}\n`)
  await command('stop', '-t', '0', name)
  await command('rm', '-v', name)
  return trace
}

/** Namespaces that a process, or a descriptor of one, or a mount holds. */
function heldNamespaces(): ReadonlySet<string> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const links = pids.flatMap((pid) => [...linksIn(`/proc/${pid}/ns`), ...linksIn(`/proc/${pid}/fd`)])
  const mounts = [...readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/ (\w+:\[\d+\]) /g)]
  return new Set([...links, ...mounts.map((match) => match[1] ?? '')])
}

/** Others come and go. */
function linksIn(directory: string): string[] {
  const unlessGone = <T>(ask: () => T, otherwise: T): T => {
    try {
      return ask()
    } catch (error) {
      if (['ENOENT', 'ESRCH', 'EACCES', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? ''))
        return otherwise
      throw error
    }
  }
  const names = unlessGone(() => readdirSync(directory), [])
  return names.map((name) => unlessGone(() => readlinkSync(join(directory, name)), ''))
}

const descriptors = (): string[] => linksIn('/proc/self/fd').filter((link) => link !== '' && !link.includes('/proc/'))

it(
  `${count} times create, start, exec, stop and rm, ${AT_ONCE} at a time, leave no mount, cgroup, process, descriptor, namespace or directory`,
  async () => {
    const engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
    // What the first one makes stays: directories of the store, libraries in this process.
    await byProgram(engine, -1)
    await byCommands(-1)
    const before = { descriptors: descriptors().length, store: treeOf(machine.store), mounts: mounts() }
    const traces: Trace[] = []
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < count) {
        const number = next++
        traces.push(number % 8 === 0 ? await byCommands(number) : await byProgram(engine, number))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    expect(new Set(traces.map(({ id }) => id)).size).toBe(count)
    await engine.ps({ all: true })
    // A monitor ends a moment after its lock.
    await until(() => monitors().length === 0)
    expect(traces.flatMap(({ id }) => cgroupsOf(id))).toEqual([])
    // The kernel takes a namespace down in its own time; others' may have its number by then, for as long as they live.
    const own = new Set(traces.flatMap(({ namespaces }) => namespaces))
    for (const shared of NAMESPACES.map((name) => readlinkSync(`/proc/self/ns/${name}`))) own.delete(shared)
    await until(() => {
      const held = heldNamespaces()
      for (const name of own) if (!held.has(name)) own.delete(name)
      return own.size === 0
    })
    await until(() => descriptors().length <= before.descriptors)
    expect({ store: treeOf(machine.store), mounts: mounts() }).toEqual({ store: before.store, mounts: before.mounts })
    await engine.removeVolume('shared')
    expectNothingLeft(machine)
  },
  60_000 + count * 3000,
)

/** Directories and files of the store, but for the file of events, which is there for long. */
function treeOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('events.log'))
    .toSorted()
}

function mounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(machine.directory))
}

/** Processes of containers and their monitors: they have this machine's directory open, or run its programs. */
function monitors(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => linksIn(`/proc/${pid}/fd`).some((link) => link.startsWith(machine.directory)))
}
