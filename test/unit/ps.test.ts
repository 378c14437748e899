import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CONTAINER_HEADINGS, containerRow, labelHeading } from '../../src/cli/output/containers.ts'
import { formatListing } from '../../src/cli/output/format.ts'
import { compileTemplate, TemplateError } from '../../src/cli/output/template/evaluate.ts'
import { parseContainerFilter } from '../../src/cli/parse/filter.ts'
import type { ContainerSummary } from '../../src/engine/api.ts'
import { matchesFilter } from '../../src/engine/state/filter.ts'

const container: ContainerSummary = {
  id: 'ab'.repeat(32),
  name: 'web',
  image: 'docker.io/library/alpine:3',
  imageId: `sha256:${'cd'.repeat(32)}`,
  command: ['sh'],
  status: 'running',
  createdMs: 0,
  labels: { 'com.example.tier': 'front' },
  mounts: ['/srv', 'data'],
  network: 'none',
  ports: [
    { protocol: 'tcp', hostPort: 8081, containerPort: 81 },
    { protocol: 'tcp', hostPort: 8080, containerPort: 80 },
    { protocol: 'udp', hostIp: '::1', hostPort: 53, containerPort: 53 },
  ],
  restartPolicy: 'no',
  startsAtBoot: false,
  size: { writable: 1000, root: 2_000_000 },
}
const row = containerRow(container, { nowMs: 1000, noTrunc: false })
const headings = { ...CONTAINER_HEADINGS, Label: labelHeading }
const list = (format: string, bare = false): Promise<string> =>
  formatListing({ headings, columns: ['ID'], rows: [row], bare }, format)

describe('a row of ps', () => {
  it('has the size, the volumes and the image by id', () => {
    expect(row).toMatchObject({ Size: '1kB (virtual 2MB)', LocalVolumes: '1', ImageID: 'cdcdcdcdcdcd' })
  })

  it('has the ports that lead to it, neighbours as one, as long as it lives', () => {
    expect(row.Ports).toBe('[::1]:53->53/udp, 0.0.0.0:8080-8081->80-81/tcp')
    expect(containerRow({ ...container, status: 'stopped' }, { nowMs: 1000, noTrunc: false }).Ports).toBe('')
  })

  it('says what it ended with while it waits for its restart', () => {
    const restarting = { ...container, status: 'restarting', exitCode: 3, finishedMs: 0 } as const
    const { State, Status } = containerRow(restarting, { nowMs: 4000, noTrunc: false })
    expect({ State, Status }).toEqual({ State: 'restarting', Status: 'Restarting (3) 4 seconds ago' })
  })

  it('answers a template that asks for one label, also through a pipe and with a heading', async () => {
    expect(await list('{{.Label "com.example.tier"}}|{{.Label "nosuch"}}')).toBe('front|\n')
    expect(await list('{{"com.example.tier" | .Label}}')).toBe('front\n')
    expect(await list('table {{.Names}}\t{{.Label "com.example.tier"}}')).toBe('NAMES     TIER\nweb       front\n')
    expect(await list('table {{.Names}}', true)).toBe('web\n')
    await expect(list('{{.Names "x"}}')).rejects.toThrow('only functions take arguments')
    expect(JSON.parse(await list('json'))).not.toHaveProperty('Label')
  })
})

describe('a filter of ps', () => {
  it.each([
    [['name=we'], true],
    [['name=^web$'], true],
    [['name=^/w.b$'], true],
    [['name=^we$'], false],
    [['name=w(eb'], false],
    [['network=none'], true],
    [['network=host'], false],
    [['network=host', 'network=none'], true],
    [['status=restarting'], false],
    [['status=dead', 'status=running'], true],
    [['volume=data', 'label=com.example.tier'], true],
    [['label=com.example.tier=back'], false],
    [['label!=com.example.tier'], false],
    [['label!=com.example.tier=back'], true],
    [['publish=80'], true],
    [['publish=79-80/tcp'], true],
    [['publish=80/udp'], false],
    [['until=2000-01-01T00:00:00Z'], true],
    [['until=1969-12-31T00:00:00Z'], false],
  ])('%j: %s', (filters, expected) => {
    expect(matchesFilter(container, parseContainerFilter(filters))).toBe(expected)
  })

  it('takes names of containers before and since', () => {
    expect(parseContainerFilter(['before=a', 'since=b', 'before=c'])).toEqual({ before: ['a', 'c'], since: ['b'] })
    expect(() => parseContainerFilter(['pod=x'])).toThrow('--filter pod=x: unknown key "pod"')
  })
})

describe('a template', () => {
  it('of any text either fills in or is refused by one clear error', () => {
    const piece = fc.constantFrom(
      '{{',
      '}}',
      '.A',
      '.A.B',
      '|',
      'json',
      '"x"',
      '$',
      '(',
      ')',
      'if',
      'range',
      'end',
      'else',
      ' ',
      '-',
      '1',
      ':=',
      'x',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          expect(typeof compileTemplate(pieces.join(''))({ A: { B: ['x'] } })).toBe('string')
        } catch (error) {
          expect(error).toBeInstanceOf(TemplateError)
          expect((error as Error).message).toMatch(/^[^\n]{3,}$/)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('names a function that is not there', () => {
    expect(() => compileTemplate('{{jsn .}}')({})).toThrow('unknown function jsn, did you mean json?')
  })
})
