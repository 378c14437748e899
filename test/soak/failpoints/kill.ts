import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect } from 'vitest'
import { cgroupsOf, type Machine, pidOf, processesWith, TSCRUN } from '../../kernel/fixtures/machine.ts'
import { type KilledCommand, OTHER, VICTIM } from './commands.ts'
import { must, type Place } from './place.ts'
import { rowNameOf } from './points.ts'
import { readCall, readTrace, type Trace } from './trace.ts'
import { comeToRest, isSame, settledStatus } from './truth.ts'

export type Victim = 'cli' | 'monitor' | 'init' | 'all'

/** Where to kill, and whom. */
export interface Strike {
  readonly role: string
  /** As the page calls it (rowNameOf). */
  readonly point: string
  /** The point that the role comes from; absent where any will do, as soon as the victim lives. */
  readonly from?: string | undefined
  readonly victim: Victim
}

/** What the next commands have said and done. */
export interface Seen {
  readonly trace: Trace
  /** `ps -a`: what its container is; `none`; and what else was asked. */
  readonly status: string
  /** Who has removed what was left. */
  readonly cleaned: 'nothing is left' | 'next command' | 'rm'
}

/** Runs a command below the tracer, to its end or to a kill. */
export async function traced(place: Place, command: KilledCommand, strike?: Strike): Promise<Trace> {
  const { machine, net, program } = place
  if (command.first === true) rmSync(join(machine.store, 'prepared'), { recursive: true, force: true })
  for (const args of command.before) await must(place, args)
  const log = join(machine.directory, 'trace')
  const tscrun = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, ...command.args]
  const args = [
    ...net.enter,
    program,
    log,
    strike?.role ?? 'none',
    strike?.victim ?? 'all',
    command.follow === true ? 'all' : 'cli',
    ...tscrun,
  ]
  const [first = '', ...rest] = args
  const running = execa(first, rest, {
    reject: false,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    buffer: { fd3: false },
  })
  if (strike !== undefined) answer(running.stdio[3] as Duplex, strike, machine)
  const { exitCode, stderr } = await running
  expect(exitCode, `${command.name}: ${stderr}`).not.toBe(99)
  const trace = readTrace(log, machine)
  if (strike === undefined) expect({ exitCode, stderr }, command.name).toEqual({ exitCode: 0, stderr: '' })
  return trace
}

/** Says of each call of the role whether the kill is to come before it. */
function answer(asked: Duplex, strike: Strike, machine: Machine): void {
  let last: string | undefined
  let rest = ''
  asked.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [alive = '', ...words] = line.split('\t')
      const name = rowNameOf(readCall(words.join('\t'), machine))
      const isThere =
        name === strike.point && (strike.from === undefined ? isAlive(strike.victim, alive) : strike.from === last)
      last = name ?? last
      asked.write(isThere ? 'k' : 'g')
    }
  })
}

/** By first letters, as failpoint.c gives them. */
function isAlive(victim: Victim, alive: string): boolean {
  return victim === 'all' ? alive.length > 0 : alive.includes(victim.slice(0, 1))
}

/** Kills once, asks what is, removes all, and sees that nothing is left. */
export async function killOnce(place: Place, command: KilledCommand, strike: Strike): Promise<Seen> {
  const clean = treeOf(place)
  const trace = await traced(place, command, strike)
  const label = `${command.name}, ${strike.victim} killed at ${strike.role}: ${strike.point}`
  await comeToRest(place, command, trace)
  const wasClean = isSame(treeOf(place), clean)
  const status = await settledStatus(place, command, trace, label)
  // One with a name is there to stay.
  const isClean = isSame(
    treeOf(place).filter((path) => path !== 'volumes/named'),
    clean,
  )
  await removeAll(place, command, clean)
  await expectClean(place, trace, clean, label)
  return {
    trace,
    status,
    cleaned: wasClean ? 'nothing is left' : isClean ? 'next command' : 'rm',
  }
}

/** As a person would, but no more than is needed; whatever is still there then is a leftover. */
export async function removeAll(place: Place, { asks }: KilledCommand, clean: readonly string[]): Promise<void> {
  const ids = namesIn(join(place.machine.store, 'containers'))
  if (ids.length > 0) {
    const listed = (await must(place, ['ps', '-aq', '--no-trunc'])).split('\n').filter(Boolean)
    if (listed.length > 0) await must(place, ['rm', '-f', '-v', ...listed])
  }
  if (namesIn(join(place.machine.store, 'volumes')).length > 0) await must(place, ['volume', 'prune', '-f', '-a'])
  if (asks === 'image') {
    const images = await must(place, ['images', '--format', '{{.Repository}}'])
    if (images.includes('localhost/made')) await must(place, ['rmi', 'localhost/made:1'])
    await must(place, ['image', 'prune', '-f'])
  }
  if (!isSame(treeOf(place), clean)) await must(place, ['ps', '-a'])
}

async function expectClean(
  place: Place,
  { ids, names }: Trace,
  clean: readonly string[],
  label: string,
): Promise<void> {
  const { machine, net } = place
  const processes = (): number[] => [
    ...processesWith(machine.directory),
    ...[VICTIM, OTHER, ...names].flatMap((name) => pidOf(`tscrun: ${name}`) ?? []),
  ]
  // Who was killed may still be on its way out.
  for (let tries = 0; tries < 250 && processes().length > 0; tries++) await sleep(20)
  expect(processes().map(describeProcess), label).toEqual([])
  expect(ids.flatMap(cgroupsOf), label).toEqual([])
  expect(treeOf(place), label).toEqual(clean)
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(machine.directory)
  expect(await net.host('ip -o link'), label).not.toMatch(/: tv/)
  expect(await net.host('nft list table inet tscrun 2>&1 || true'), label).not.toContain('elements')
}

function describeProcess(pid: number): string {
  const { stdout } = spawnSync('ps', ['-o', 'pid,ppid,stat,wchan,args', '--no-headers', '-p', String(pid)], {
    encoding: 'utf8',
  })
  return stdout
}

/** All that a container, volume or image has a name for. */
export function treeOf({ machine: { store, runRoot } }: Place): string[] {
  const kinds = [
    'containers',
    'names',
    'ranges',
    'volumes',
    'work',
    'images/blobs/sha256',
    'layers',
    'records',
    'networks',
  ]
  const leases = namesIn(join(store, 'leases')).map((network) => `leases/${network}`)
  const below = (root: string, kind: string): string[] => namesIn(join(root, kind)).map((name) => `${kind}/${name}`)
  const running = namesIn(runRoot).map((name) => `run/${name}`)
  return [...[...kinds, ...leases].flatMap((kind) => below(store, kind)), ...running].toSorted()
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}
