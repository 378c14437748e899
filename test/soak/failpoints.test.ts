import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeHostNetwork } from '../kernel/fixtures/host-network.ts'
import { makeMachine, PROJECT } from '../kernel/fixtures/machine.ts'
import { compileStatic } from '../kernel/fixtures/rootfs.ts'
import { randomOf, soakOf } from '../setup/soak.ts'
import { COMMANDS, IMAGE, type KilledCommand } from './failpoints/commands.ts'
import { killOnce, must, type Place, removeAll, type Strike, traced, treeOf, type Victim } from './failpoints/kill.ts'
import { addRow, note, type Page, parsePage, rowOf, writtenPage } from './failpoints/page.ts'
import { isNamed, pointOf, POINTS } from './failpoints/points.ts'
import type { Call, Trace } from './failpoints/trace.ts'

/**
 * SIGKILL before each system call that changes something (failpoint.c), of the command line, of the monitor, of the first
 * process, and of all at once. docs/kills.md has what was seen; `TSCRUN_TEST_WRITE=1 npm run soak -- --only failpoints`
 * adds what it sees; with `TSCRUN_SOAK_OPEN=1` it strikes only where the page has nothing yet.
 */
const { count, seed } = soakOf('failpoints', 20)
const PAGE = join(PROJECT, 'docs/kills.md')
const writes = process.env['TSCRUN_TEST_WRITE'] === '1'
const only = process.env['TSCRUN_SOAK_COMMAND']
/** What a sample meets need not have been seen yet at this very point: the page is written by whole runs. */
const isSample = !writes && count < 1000
/** Only what the page does not tell yet. */
const open = process.env['TSCRUN_SOAK_OPEN'] === '1'
const commands = COMMANDS.filter(({ name }) => only === undefined || name === only)

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
    await removeAll(place, command, clean)
    expect(treeOf(place)).toEqual(clean)
    expect(trace.calls.filter((call) => !isNamed(call)).map(({ role, text }) => `${role} ${text}`)).toEqual([])
    const points = new Set(trace.calls.flatMap((call) => pointOf(call)?.name ?? []))
    for (const point of points) reached.add(point)
    visited.set(command.name, points)
    // Some are only come by where one process is faster than another.
    const rows = writes
      ? points
      : new Set([...parsePage(readFileSync(PAGE, 'utf8')).values()].flatMap((row) => [...row.keys()]))
    expect([...points].filter((point) => !rows.has(point) && point !== 'helper')).toEqual([])
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
    const point = pointOf(call)?.name
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
    for (const { command, strike } of chosen(known)) {
      try {
        await strikeOnce(command, strike, known, page)
      } catch (error) {
        // The others are to be seen, too.
        const { message, actual } = error as Error & { readonly actual?: unknown }
        failures.push(`${message} ${JSON.stringify(actual)}`)
        disposeOf(place)
        place = await makePlace()
      }
      if (writes) writePage(page)
    }
    expect(failures).toEqual([])
  },
  // setTimeout takes no more than that: 24 days.
  Math.min(count * 20_000, 2 ** 31 - 1),
)

/** After each kill, so that a run that is ended early has told what it saw. */
function writePage(page: Page): void {
  const text = readFileSync(PAGE, 'utf8')
  writeFileSync(PAGE, writtenPage(text, inOrder(new Map([...parsePage(text), ...page]))))
}

/** Commands as they are listed, and none that is no longer. */
function inOrder(page: Page): Page {
  return new Map(COMMANDS.flatMap(({ name }) => (page.has(name) ? [[name, page.get(name) ?? new Map()]] : [])))
}

async function strikeOnce(command: KilledCommand, strike: Strike, known: Page, page: Page): Promise<void> {
  const { victim } = strike
  // Which point it was is told by the last call before the kill, whatever has come earlier or later this time.
  const rows = known.get(command.name) ?? new Map<string, never>()
  const told = ({ calls }: Trace): ReadonlySet<string> => {
    const name = pointOf(calls.at(-1) as Call)?.name
    const said = (name === undefined ? undefined : rows.get(name)?.said.get(victim)) ?? new Set()
    // A point that is come by in several lives may have been struck in one of them only: then what its others tell counts.
    return isSample && said.size > 0
      ? new Set([...rows.values()].flatMap((row) => [...(row.said.get(victim) ?? [])]))
      : said
  }
  const seen = await killOnce(
    place,
    command,
    strike,
    (trace, status) => writes || told(trace).size === 0 || told(trace).has(status),
  )
  const point = seen.trace.killed ? pointOf(seen.trace.calls.at(-1) as Call) : undefined
  if (point === undefined) return
  if (writes) note(rowOf(page, command.name, point.name), victim, seen.status, seen.cleaned)
  else if (told(seen.trace).size > 0)
    expect([...told(seen.trace)], `${command.name}: ${victim} killed at ${point.name}`).toContain(seen.status)
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
