import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventFields, eventJson, eventLine } from '../../src/cli/output/events.ts'
import { parseEventFilter } from '../../src/cli/parse/filter.ts'
import { eventLaunch } from '../../src/engine/events/launch.ts'
import { containerEvent, imageEvent, writeEvents } from '../../src/engine/events/log.ts'
import { type EngineEvent, type EventsOptions, matchesEvent, readEvents } from '../../src/engine/events/events.ts'
import { enginePaths } from '../../src/engine/paths.ts'

const record = { id: 'ab'.repeat(32), name: 'web', image: 'alpine:3', labels: { tier: 'front', image: 'a lie' } }
let root: string
const paths = (): ReturnType<typeof enginePaths> => enginePaths({ root }, {})
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tscrun-events-'))
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

async function read(options: EventsOptions): Promise<string[]> {
  const words: string[] = []
  for await (const { action } of readEvents(paths(), options)) words.push(action)
  return words
}

describe('the log of events', () => {
  it("is the owner's alone, and each line is docker's JSON", () => {
    writeEvents(paths(), [containerEvent(record, 'start'), imageEvent('pull', 'alpine:3', 'alpine:3')])
    expect(statSync(paths().events).mode & 0o777).toBe(0o600)
    const [first = '', second = ''] = readFileSync(paths().events, 'utf8').split('\n')
    expect(JSON.parse(first)).toMatchObject({
      Type: 'container',
      Action: 'start',
      Actor: { ID: record.id, Attributes: { name: 'web', image: 'alpine:3', tier: 'front' } },
      scope: 'local',
    })
    const { time, timeNano } = JSON.parse(first) as { time: number; timeNano: number }
    expect(Math.floor(timeNano / 1e9)).toBe(time)
    expect(JSON.parse(second)).toMatchObject({ Type: 'image', Action: 'pull', Actor: { ID: 'alpine:3' } })
  })

  it('is read from its beginning without following, and from now on with', async () => {
    writeEvents(paths(), [containerEvent(record, 'start')])
    expect(await read({ follow: false })).toEqual(['start'])
    expect(await read({ untilMs: Date.now() + 150 })).toEqual([])
    expect(await read({ sinceMs: Date.now() - 1000, untilMs: Date.now() - 500 })).toEqual([])
  })

  it('is followed over a rotation, also of what a slow writer still puts into the old file', async () => {
    const stop = new AbortController()
    writeEvents(paths(), [containerEvent(record, 'start')])
    const seen: string[] = []
    for await (const { action } of readEvents(paths(), { sinceMs: 0, signal: stop.signal })) {
      seen.push(action)
      if (action === 'start') {
        renameSync(paths().events, `${paths().events}.1`)
        writeEvents(paths(), [containerEvent(record, 'pause')])
      }
      if (action === 'pause') {
        const line = readFileSync(paths().events, 'utf8').replace('pause', 'late')
        appendFileSync(`${paths().events}.1`, line)
      }
      if (action === 'late') stop.abort()
    }
    expect(seen).toEqual(['start', 'pause', 'late'])
    expect(await read({ follow: false })).toEqual(['start', 'late', 'pause'])
  })

  it('puts a file aside that has grown too large', async () => {
    writeEvents(paths(), [containerEvent(record, 'start')])
    truncateSync(paths().events, 2 ** 20)
    writeEvents(paths(), [containerEvent(record, 'pause')])
    writeEvents(paths(), [containerEvent(record, 'die')])
    expect(statSync(`${paths().events}.1`).size).toBeGreaterThan(2 ** 20)
    expect(readFileSync(paths().events, 'utf8').trim().split('\n')).toHaveLength(1)
    expect((await read({ follow: false })).at(-1)).toBe('die')
  })

  it('passes over what is no event, and is silent where the store is not there', async () => {
    appendFileSync(paths().events, '{"Type":"container","Act\n\0\0\n{"timeNano":12}\n')
    writeEvents(paths(), [containerEvent(record, 'die')])
    expect(await read({ follow: false })).toEqual(['die'])
    const nowhere = enginePaths({ root: join(root, 'absent') }, {})
    writeEvents(nowhere, [containerEvent(record, 'die')])
    for await (const { action } of readEvents(nowhere, { follow: false })) expect.fail(action)
  })

  it('leaves labels out that are too much for a line', () => {
    const many = { ...record, labels: { much: 'x'.repeat(10_000) }, remove: true }
    expect(JSON.parse(`{${eventLaunch(paths(), many, true).attributes}}`)).toEqual({ image: 'alpine:3' })
  })
})

const event: EngineEvent = { ...containerEvent(record, 'exec_start: sh -c x', { execID: '1' }), timeNs: 1n }

describe('a filter of events', () => {
  it.each([
    [['container=web'], true],
    [['container=abab'], true],
    [['container=db', 'container=web'], true],
    [['container=db'], false],
    [['event=exec_start'], true],
    [['event=exec'], true],
    [['event=start'], false],
    [['type=container', 'image=alpine:3'], true],
    [['type=image'], false],
    [['image=alpine'], false],
    [['label=tier', 'label=tier=front'], true],
    [['label=tier', 'label=tier=back'], false],
    [['volume=web'], false],
  ])('%j: %s', (filters, expected) => {
    expect(matchesEvent(event, parseEventFilter(filters))).toBe(expected)
  })

  it('takes podman’s words for docker’s', () => {
    const died = containerEvent(record, 'die', { exitCode: '1' })
    const gone = containerEvent(record, 'destroy')
    expect(matchesEvent(died, parseEventFilter(['event=died']))).toBe(true)
    expect(matchesEvent(gone, parseEventFilter(['event=remove']))).toBe(true)
  })

  it('names what it does not know', () => {
    expect(() => parseEventFilter(['pod=x'])).toThrow('--filter pod=x: unknown key "pod"')
    expect(() => parseEventFilter(['container'])).toThrow('--filter container: not KEY=VALUE')
  })
})

describe('an event is shown', () => {
  const shown: EngineEvent = {
    ...containerEvent({ ...record, labels: {} }, 'die', { exitCode: '7' }),
    timeNs: 1_700_000_000_000_000_007n,
  }

  it('as a line', () => {
    expect(eventLine(shown)).toBe(
      `2023-11-14T22:13:20.000000007Z container die ${record.id} (exitCode=7, image=alpine:3, name=web)`,
    )
    expect(eventLine({ ...shown, action: 'exec_start: \x1b[2J' })).not.toContain('\x1b')
  })

  it('as JSON, to the nanosecond', () => {
    expect(eventJson(shown)).toMatch(/"time":1700000000,"timeNano":1700000000000000007\}$/)
    expect(JSON.parse(eventJson(shown))).toMatchObject({ status: 'die', id: record.id, from: 'alpine:3' })
  })

  it('by names of docker and of podman', () => {
    expect(eventFields(shown)).toMatchObject({ Action: 'die', Name: 'web', ContainerExitCode: 7, Image: 'alpine:3' })
    expect(eventFields({ ...shown, action: 'health_status: healthy' })).toMatchObject({ HealthStatus: 'healthy' })
  })
})
