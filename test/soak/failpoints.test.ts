import { readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeHostNetwork } from '../kernel/fixtures/host-network.ts'
import { makeMachine, pidOf, processesWith, PROJECT } from '../kernel/fixtures/machine.ts'
import { compileStatic } from '../kernel/fixtures/rootfs.ts'
import { randomOf, soakOf } from '../setup/soak.ts'
import { COMMANDS, IMAGE, type KilledCommand, OTHER, VICTIM } from './failpoints/commands.ts'
import { killOnce, removeAll, type Seen, type Strike, traced, treeOf, type Victim } from './failpoints/kill.ts'
import { addRow, note, type Page, parsePage, rowOf, writtenPage } from './failpoints/page.ts'
import { must, type Place } from './failpoints/place.ts'
import { isNamed, pointOf, POINTS, rowNameOf } from './failpoints/points.ts'
import type { Call, Trace } from './failpoints/trace.ts'
import { settledStatus } from './failpoints/truth.ts'

/**
 * SIGKILL before each system call that changes something (failpoint.c), of the command line, of the monitor, of the first
 * process, and of all at once. After each kill: what `ps` says is what the kernel says, it comes to rest, it is one of the few
 * things that the command may leave (`from`, `to`, `between` of commands.ts), all can be removed, nothing is left.
 *
 * docs/kills.md has what was seen; `TSCRUN_TEST_WRITE=1 npm run soak -- --only failpoints` adds what it sees; with
 * `TSCRUN_SOAK_OPEN=1` it strikes only where the page has nothing yet. No kill is compared with the page: who is killed at a
 * point is always the same, where the others are by then depends on who was faster, so that a cell has what some kills have
 * met there and not all that is possible.
 */
const { count, seed } = soakOf('failpoints', 20)
const PAGE = join(PROJECT, 'docs/kills.md')
const writes = process.env['TSCRUN_TEST_WRITE'] === '1'
/** `run -d|stop`: several can be asked for. */
const only = process.env['TSCRUN_SOAK_COMMAND']?.split('|')
/** Only what the page does not tell yet. */
const open = process.env['TSCRUN_SOAK_OPEN'] === '1'
const commands = COMMANDS.filter(({ name }) => only?.includes(name) ?? true)

// With settings that it does not know nothing is prepared.
for (const name of Object.keys(process.env)) if (/^TSCRUN_(?:SOAK|SEED|TEST_WRITE)/.test(name)) delete process.env[name]

let place: Place
beforeAll(async () => {
  place = await makePlace()
})
afterAll(() => disposeOf(place))

async function makePlace(): Promise<Place> {
  const machine = makeMachine()
  const program = join(machine.directory, 'failpoint')
  compileStatic(fileURLToPath(new URL('failpoints/failpoint.c', import.meta.url)), program)
  const made = { machine, net: await makeHostNetwork(machine), program }
  await must(made, ['run', '-d', '--name', 'base', '--rootfs', `${machine.rootfs}:O`, 'sleep', '19318'])
  await must(made, ['commit', '-q', '-s', 'base', IMAGE])
  await must(made, ['rm', '-f', 'base'])
  // What the first one makes stays: directories, the bridge and the rules of the default network.
  const flags = ['--network', 'bridge', '-p', '8317:80', '-v', '/v']
  expect((await made.net.tscrun(['run', '--rm', ...flags, IMAGE, 'true'])).exitCode).toBe(0)
  return made
}

function disposeOf({ net, machine }: Place): void {
  net.dispose()
  machine.dispose()
}

/** A kill that can be made. */
interface Candidate {
  readonly command: KilledCommand
  readonly strike: Strike
}

const candidates: Candidate[] = []
const reached = new Set<string>()
/** By command. */
const visited = new Map<string, ReadonlySet<string>>()

describe.each(commands)('$name', (command) => {
  it('comes only by points that have a name', async () => {
    const clean = treeOf(place)
    const trace = await traced(place, command)
    expect(await settledStatus(place, command, trace, command.name)).toBe(command.to)
    await removeAll(place, command, clean)
    expect(treeOf(place)).toEqual(clean)
    expect(trace.calls.filter((call) => !isNamed(call)).map(({ role, text }) => `${role} ${text}`)).toEqual([])
    const points = new Set(trace.calls.flatMap((call) => rowNameOf(call) ?? []))
    for (const call of trace.calls) reached.add(pointOf(call)?.name ?? '')
    visited.set(command.name, points)
    // Some are only come by where one process is faster than another.
    const plain = (row: string): string => row.replace(/ \(.*\)$/, '')
    const rows = [...parsePage(readFileSync(PAGE, 'utf8')).values()].flatMap((row) => [...row.keys()].map(plain))
    const untold = writes ? [] : [...points].map(plain).filter((point) => !rows.includes(point))
    expect(untold.filter((point) => point !== 'helper')).toEqual([])
    candidates.push(...strikesOf(trace).map((strike) => ({ command, strike })))
  })
})

/**
 * Its own role before the first call at a point, once for each way there; where a point is new also the others that live by
 * then, and whoever lives while somebody else does the work.
 */
function strikesOf({ calls }: Trace): Strike[] {
  const alive = new Set<Victim>(['cli'])
  const last = new Map<string, string>()
  const ways = new Set<string>()
  const isNew = (way: string): boolean => !ways.has(way) && ways.add(way).has(way)
  return calls.flatMap((call): Strike[] => {
    const { role } = call
    const point = rowNameOf(call)
    const own: Victim | undefined = role === 'cli' || role === 'monitor' || role === 'init' ? role : undefined
    if (own !== undefined) alive.add(own)
    if (point === undefined) return []
    const from = last.get(role)
    last.set(role, point)
    const isFirst = from !== point && isNew(`${role}: ${from} to ${point}`)
    const isOther = isNew(`${role}: ${point}`) && (own === undefined || alive.size > 1)
    const others: Victim[] = isOther ? [...alive, 'all'] : []
    if (role === 'cli' && point === 'end') alive.delete('cli')
    return [
      ...(own !== undefined && isFirst ? [{ role, point, from, victim: own }] : []),
      ...others.filter((victim) => victim !== own).map((victim) => ({ role, point, victim })),
    ]
  })
}

it.runIf(!writes)('the page tells of each point that a command comes by what a kill has left there', () => {
  const rows = [...parsePage(readFileSync(PAGE, 'utf8'))].flatMap(([name, points]) =>
    [...points].map(([point, { said }]) => ({ row: `${name}: ${point}`, kills: said.size })),
  )
  expect(rows.filter(({ kills }) => kills === 0)).toEqual([])
})

it.runIf(only === undefined)('every point that has a name is reached', () => {
  expect(POINTS.map(({ name }) => name).filter((name) => !reached.has(name))).toEqual([])
})

it(
  `after each of ${count} kills the next command tells the truth, everything can be removed, and nothing is left (seed ${seed})`,
  async () => {
    const known = parsePage(readFileSync(PAGE, 'utf8'))
    const page: Page = new Map()
    for (const [name, points] of visited) {
      // What was seen before stays; whoever wants to begin anew empties the page's tables.
      for (const point of points) addRow(page, name, point, known.get(name)?.get(point))
    }
    const failures: string[] = []
    const strikes = chosen(known)
    for (const [index, candidate] of strikes.entries()) {
      try {
        await strikeOnce(candidate, page)
      } catch (error) {
        // The others are to be seen, too.
        const { message, actual } = error as Error & { readonly actual?: unknown }
        failures.push(`${message} ${JSON.stringify(actual)}`)
        if (writes) writeSync(2, `${failures.at(-1)}\n`)
        endAll(place)
        disposeOf(place)
        place = await makePlace()
      }
      if (!writes) continue
      writePage(page)
      writeSync(2, `${index + 1} of ${strikes.length}: ${candidate.command.name}; ${failures.length} failed\n`)
    }
    expect(failures).toEqual([])
  },
  // setTimeout takes no more than that: 24 days.
  Math.min(count * 20_000, 2 ** 31 - 1),
)

/** Whoever is left of a kill that went wrong, so that it is not found after the next one. */
function endAll({ machine }: Place): void {
  const monitors = [VICTIM, OTHER].flatMap((name) => pidOf(`tscrun: ${name}`) ?? [])
  for (const pid of [...monitors, ...processesWith(machine.directory)]) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/** After each kill, so that a run that is ended early has told what it saw. */
function writePage(page: Page): void {
  const text = readFileSync(PAGE, 'utf8')
  writeFileSync(PAGE, writtenPage(text, inOrder(new Map([...parsePage(text), ...page]))))
}

/** Commands as they are listed, and none that is no longer. */
function inOrder(page: Page): Page {
  return new Map(COMMANDS.flatMap(({ name }) => (page.has(name) ? [[name, page.get(name) ?? new Map()]] : [])))
}

async function strikeOnce({ command, strike }: Candidate, page: Page): Promise<void> {
  const seen = await killOnce(place, command, strike)
  const { trace, status, cleaned } = seen
  const label = `${command.name}: ${strike.victim} killed at ${strike.role}: ${strike.point}`
  expect(allowed(command, strike, seen), label).toContain(status)
  // Which point it was is told by the last call before the kill, whatever has come earlier or later this time.
  const last = trace.killed ? trace.calls.at(-1) : undefined
  const point = last === undefined ? undefined : rowNameOf(last)
  if (point === undefined) return
  if (writes) note(rowOf(page, command.name, point), strike.victim, status, cleaned)
}

/** What may be said: of a command that has done nothing, or all, there is no choice. */
function allowed({ from, to, between = [] }: KilledCommand, { victim }: Strike, { trace }: Seen): readonly string[] {
  const changes = trace.calls.filter((call) => pointOf(call) !== undefined)
  const isCli = victim === 'cli' || victim === 'all'
  if (!trace.killed) return [to]
  if (isCli && changes.length === 1) return [from]
  return victim === 'cli' && pointOf(changes.at(-1) as Call)?.name === 'end' ? [to] : [from, to, ...between]
}

/** A sample that is the same for the same seed; all, where as many are asked for. */
function chosen(known: Page): Candidate[] {
  const all = open
    ? candidates.filter(
        ({ command, strike }) => known.get(command.name)?.get(strike.point)?.said.get(strike.victim) === undefined,
      )
    : candidates
  if (count >= all.length) return all
  const random = randomOf(seed)
  return Array.from({ length: count }, () => all[Math.floor(random() * all.length)] as Candidate)
}
