import { describe, expect, it } from 'vitest'
import { reportError, warningLine } from '../../src/cli/errors.ts'
import { containerRow } from '../../src/cli/output/containers.ts'
import { formatListing, formatObjects } from '../../src/cli/output/format.ts'
import { IMAGE_HEADINGS, imageMatches, imageRow, shortName } from '../../src/cli/output/images.ts'
import { formatMoment, formatSpan } from '../../src/cli/output/relative-time.ts'
import { formatReport } from '../../src/cli/output/report.ts'
import { alignColumns } from '../../src/cli/output/table.ts'
import { parseContainerFilter } from '../../src/cli/parse/filter.ts'
import type { ContainerSummary, ImageSummary } from '../../src/engine/api.ts'
import { TscrunError } from '../../src/model/errors.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

describe('spans of time are worded as docker words them', () => {
  it.each([
    [-5, 'Less than a second'],
    [999, 'Less than a second'],
    [SECOND, '1 second'],
    [59 * SECOND, '59 seconds'],
    [MINUTE, 'About a minute'],
    [119 * SECOND, 'About a minute'],
    [2 * MINUTE, '2 minutes'],
    [59 * MINUTE, '59 minutes'],
    [HOUR, 'About an hour'],
    [89 * MINUTE, 'About an hour'],
    [91 * MINUTE, '2 hours'],
    [47 * HOUR, '47 hours'],
    [48 * HOUR, '2 days'],
    [13 * DAY, '13 days'],
    [14 * DAY, '2 weeks'],
    [59 * DAY, '8 weeks'],
    [60 * DAY, '2 months'],
    [729 * DAY, '24 months'],
    [730 * DAY, '2 years'],
  ])('%d ms: %s', (milliseconds, text) => {
    expect(formatSpan(milliseconds)).toBe(text)
  })

  it('and moments are in UTC', () => {
    expect(formatMoment(Date.UTC(2026, 1, 3, 4, 5, 6))).toBe('2026-02-03 04:05:06 +0000 UTC')
  })
})

const ID = `sha256:${'0123456789abcdef'.repeat(4)}`
const IMAGE: ImageSummary = {
  id: ID,
  repository: 'docker.io/library/alpine',
  tag: '3',
  digest: ID.replace('0', 'f'),
  createdMs: 0,
  size: 12_345_678,
}
const LISTING = {
  headings: IMAGE_HEADINGS,
  columns: ['Repository', 'Tag', 'ID', 'CreatedSince', 'Size'] as const,
  rows: [imageRow(IMAGE, { nowMs: 3 * DAY, noTrunc: false })],
}

describe('listings', () => {
  it('are tables with columns of ten and a gap of three', async () => {
    expect(await formatListing(LISTING, undefined)).toBe(
      'REPOSITORY   TAG       IMAGE ID       CREATED      SIZE\n' +
        'alpine       3         0123456789ab   3 days ago   12.3MB\n',
    )
  })

  it('have headings for the cells of a table template', async () => {
    expect(await formatListing(LISTING, 'table {{.ID}}\\t{{upper .Repository}}')).toBe(
      'IMAGE ID       REPOSITORY\n0123456789ab   ALPINE\n',
    )
  })

  it('are lines of a template or of JSON objects', async () => {
    expect(await formatListing(LISTING, '{{.Repository}}:{{.Tag}}')).toBe('alpine:3\n')
    expect(JSON.parse(await formatListing(LISTING, 'json'))).toMatchObject({ Repository: 'alpine', ID: '0123456789ab' })
  })

  it('name the field that a template has wrong', async () => {
    await expect(formatListing(LISTING, '{{.Repo}} {{.Tagg}}')).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/^--format .*: no field \.Repo/) as string,
    })
    await expect(formatListing(LISTING, '{{.Tagg}}')).rejects.toThrow('did you mean .Tag?')
  })

  it('let no control character of a name through to the terminal', async () => {
    const rows = [{ ...LISTING.rows[0]!, Repository: 'a\u001b[31mb\nc' }]
    expect(await formatListing({ ...LISTING, rows }, undefined)).toContain('a?[31mb?c')
  })

  it('align by characters, not bytes', () => {
    expect(
      alignColumns([
        ['ä'.repeat(12), 'x'],
        ['b', 'y'],
      ]),
    ).toBe(`${'ä'.repeat(12)}   x\nb              y\n`)
  })

  it('of objects are an array in JSON, or a line each', async () => {
    const objects = [
      { Id: 'a', Config: { Labels: { x: '1' } } },
      { Id: 'b', Config: { Labels: {} } },
    ]
    expect(JSON.parse(await formatObjects(objects, undefined))).toEqual(objects)
    expect(await formatObjects(objects, '{{.Id}} {{.Config.Labels.x}}')).toBe('a 1\nb <no value>\n')
    expect(await formatObjects(objects, '{{index .Config.Labels "x"}}')).toBe('1\n\n')
  })

  it('reach nothing of an object but its own fields', async () => {
    expect(await formatObjects([{ a: {} }], '{{.a.constructor}} {{.toString}}')).toBe('<no value> <no value>\n')
  })
})

describe('names of images', () => {
  it.each([
    ['docker.io/library/alpine', 'alpine'],
    ['docker.io/me/app', 'me/app'],
    ['docker.io/library/a/b', 'library/a/b'],
    ['localhost:5000/library/x', 'localhost:5000/library/x'],
  ])('%s is shown as %s', (name, short) => {
    expect(shortName(name)).toBe(short)
  })

  it.each([
    ['alpine', true],
    ['alpine:3', true],
    ['docker.io/library/alpine:3', true],
    ['alpine:4', false],
    ['alp', false],
  ])('images %s shows alpine:3: %s', (typed, matches) => {
    expect(imageMatches(IMAGE, typed)).toBe(matches)
  })
})

describe('containers', () => {
  const container: ContainerSummary = {
    id: 'f'.repeat(64),
    name: 'web',
    image: 'docker.io/library/nginx:1',
    command: ['nginx', '-g', 'daemon off;', '\u001b'],
    status: 'stopped',
    createdMs: 0,
    startedMs: 1000,
    finishedMs: HOUR,
    exitCode: 137,
    labels: { a: '1' },
    mounts: ['/srv'],
    network: 'none',
    ports: [],
    restartPolicy: 'no',
    startsAtBoot: false,
  }
  const row = (changes: Partial<ContainerSummary>) =>
    containerRow({ ...container, ...changes }, { nowMs: 3 * HOUR, noTrunc: false })

  it('are shown as docker shows them', () => {
    expect(row({})).toMatchObject({
      ID: 'ffffffffffff',
      Image: 'nginx:1',
      Command: '"nginx -g daemon off…"',
      Status: 'Exited (137) 2 hours ago',
      State: 'exited',
    })
    expect(row({ status: 'running' }).Status).toBe('Up 3 hours')
    expect(row({ status: 'paused' }).Status).toBe('Up 3 hours (Paused)')
    expect(row({ status: 'created' }).Status).toBe('Created')
  })

  it('are chosen by filters of known keys', () => {
    expect(parseContainerFilter(['status=exited', 'status=running', 'label=a=b', 'exited=137'])).toEqual({
      status: ['stopped', 'running'],
      label: ['a=b'],
      exited: [137],
    })
    for (const bad of ['status', 'status=', 'status=gone', 'colour=red', 'exited=x']) {
      expect(() => parseContainerFilter([bad])).toThrow(`--filter ${bad}`)
    }
  })
})

describe('reports', () => {
  it('are indented, aligned lines', () => {
    expect(
      formatReport({ version: '1', store: { root: '/x', images: 2 }, list: ['a', { b: 1, c: null }], none: [] }),
    ).toBe('version: 1\nstore:\n root:   /x\n images: 2\nlist:\n - a\n - b: 1\n   c: none\nnone:    \n')
  })
})

describe('errors', () => {
  it('are one line, with the hint in brackets and nothing that controls the terminal', () => {
    const error = new TscrunError('STORE', 'open /a\n\u001b[31mb: EIO', { hint: 'look at dmesg' })
    expect(reportError(error, false)).toEqual({ text: 'tscrun: open /a [31mb: EIO (look at dmesg)\n', exitCode: 125 })
  })

  it('carry the exit code of their kind', () => {
    expect(reportError(new TscrunError('COMMAND_NOT_FOUND', 'x'), false).exitCode).toBe(127)
    expect(reportError(new TscrunError('COMMAND_NOT_EXECUTABLE', 'x'), false).exitCode).toBe(126)
  })

  it('of a machine that has no more of something say what, wherever they come from', () => {
    const tooMany = Object.assign(new Error('EMFILE: too many open files, open'), { code: 'EMFILE', syscall: 'open' })
    expect(reportError(Object.assign(tooMany, { path: '/x' }), false)).toEqual({
      text: 'tscrun: open /x: EMFILE (raise the limit on open files: ulimit -n)\n',
      exitCode: 125,
    })
    const inTheWay = Object.assign(new Error('EEXIST'), { code: 'EEXIST', syscall: 'mkdir', path: '/etc/passwd' })
    const hint = 'a part of the path is no directory; for the store choose another --root or --runroot'
    expect(reportError(inTheWay, false).text).toBe(`tscrun: mkdir /etc/passwd: EEXIST (${hint})\n`)
    Object.assign(inTheWay, { code: 'ENOTDIR', syscall: 'open', path: '/etc/passwd/boot' })
    expect(reportError(inTheWay, false).text).toBe(`tscrun: open /etc/passwd/boot: ENOTDIR (${hint})\n`)
    Object.assign(inTheWay, { code: 'EEXIST', syscall: 'mkdir', path: '/etc' })
    expect(reportError(inTheWay, false).text).toMatch(/^tscrun: internal error: /)
    const other = Object.assign(new Error('EBADF: bad file descriptor'), { code: 'EBADF', syscall: 'read' })
    expect(reportError(other, false).text).toMatch(/^tscrun: internal error: /)
  })

  it('of our own are called internal, and show the stack with --debug only', () => {
    expect(reportError(new TypeError('boom'), false)).toEqual({
      text: 'tscrun: internal error: TypeError: boom (--debug shows where)\n',
      exitCode: 125,
    })
    expect(reportError(new TypeError('boom', { cause: new Error('deep') }), true).text).toMatch(
      /internal error: TypeError: boom\n[\s\S]*cli-output\.test\.ts[\s\S]*caused by: Error: deep/,
    )
  })

  it('that are only warnings say so', () => {
    expect(warningLine('a\nb')).toBe('tscrun: warning: a b\n')
  })
})
