import { describe, expect, it } from 'vitest'
import { createProgress, type ProgressTarget } from '../../src/cli/output/progress.ts'
import type { PullEvent } from '../../src/engine/api.ts'

const ID = `sha256:${'0123456789abcdef'.repeat(4)}`

const LAYERS: readonly PullEvent[] = [
  { type: 'resolved', verb: 'pull', reference: 'docker.io/library/alpine:3', digest: ID },
  { type: 'layer', id: 'sha256:aaaaaaaaaaaaaaaa', size: 2_000_000, phase: 'downloading' },
  { type: 'layer', id: 'sha256:bbbbbbbbbbbbbbbb', size: 10, phase: 'exists' },
  { type: 'bytes', id: 'sha256:aaaaaaaaaaaaaaaa', current: 1_000_000, size: 2_000_000 },
  { type: 'retry', id: 'sha256:aaaaaaaaaaaaaaaa', reason: 'connection reset' },
  { type: 'layer', id: 'sha256:aaaaaaaaaaaaaaaa', size: 2_000_000, phase: 'extracting' },
  { type: 'layer', id: 'sha256:aaaaaaaaaaaaaaaa', size: 2_000_000, phase: 'complete' },
  { type: 'done', verb: 'pull', reference: 'docker.io/library/alpine:3', digest: ID, fresh: true },
]

function show(events: readonly PullEvent[], target: Partial<ProgressTarget>): string {
  let text = ''
  let clock = 0
  const view = createProgress({
    write: (part) => (text += part),
    terminal: false,
    size: () => ({ columns: 80, rows: 24 }),
    now: () => (clock += 1000),
    ...target,
  })
  for (const event of events) view.show(event)
  view.finish()
  return text
}

/** What a terminal shows after a text with cursor up, erase line, carriage returns and newlines. */
function screen(text: string, columns: number): string[] {
  const lines: string[] = ['']
  let row = 0
  let column = 0
  for (const [part, up] of text.matchAll(/\u001b\[(\d+)A|\u001b\[2K|\r|\n|[^\u001b\r\n]+/g)) {
    if (up !== undefined) row -= Number(up)
    else if (part === '\u001b[2K') lines[row] = ''
    else if (part === '\r') column = 0
    else if (part === '\n') {
      row += 1
      column = 0
      lines[row] ??= ''
    } else {
      const line = (lines[row] ?? '').padEnd(column)
      lines[row] = line.slice(0, column) + part + line.slice(column + part.length)
      column += part.length
      if (column > columns) throw new Error(`the row wraps: ${part}`)
    }
    if (row < 0) throw new Error('the cursor left the screen')
  }
  return lines
}

describe('the progress of a pull', () => {
  it('is plain lines off a terminal', () => {
    expect(show(LAYERS, {})).toBe(
      [
        'Pulling docker.io/library/alpine:3',
        'aaaaaaaaaaaa: downloading 2MB',
        'bbbbbbbbbbbb: already there',
        'aaaaaaaaaaaa: trying again: connection reset',
        'aaaaaaaaaaaa: complete',
        `Digest: ${ID}`,
        'Status: pulled in 1.0 s: docker.io/library/alpine:3',
        '',
      ].join('\n'),
    )
  })

  it('is one row a layer on a terminal, redrawn in place', () => {
    expect(screen(show(LAYERS.slice(0, 4), { terminal: true }), 80)).toEqual([
      'Pulling docker.io/library/alpine:3',
      `aaaaaaaaaaaa: Downloading [${'='.repeat(21)}>${' '.repeat(20)}] 1MB/2MB`,
      'bbbbbbbbbbbb: Already exists',
      '',
    ])
    expect(screen(show(LAYERS, { terminal: true }), 80)).toEqual([
      'Pulling docker.io/library/alpine:3',
      'aaaaaaaaaaaa: Pull complete',
      'bbbbbbbbbbbb: Already exists',
      `Digest: ${ID}`,
      'Status: pulled in 14.0 s: docker.io/library/alpine:3',
      '',
    ])
  })

  it.each([1, 10, 30, 45])('never wraps on a terminal %d columns wide', (columns) => {
    const rows = show(LAYERS.slice(1, -1), { terminal: true, size: () => ({ columns, rows: 24 }) })
    expect(() => screen(rows, columns)).not.toThrow()
  })

  it('tells of a second try for the manifest above the rows', () => {
    const retry = { type: 'retry', id: 'docker.io/library/alpine:3', reason: '503\n' } as const
    expect(screen(show([LAYERS[1]!, LAYERS[2]!, retry, LAYERS[5]!], { terminal: true }), 80)).toEqual([
      'docker.io/library/alpine:3: trying again: 503',
      'aaaaaaaaaaaa: Extracting',
      'bbbbbbbbbbbb: Already exists',
      '',
    ])
    expect(show([retry], {})).toBe('docker.io/library/alpine:3: trying again: 503\n')
  })

  it('shows how fast a layer comes, without what an earlier pull had left', () => {
    const bytes = [500_000, 700_000, 1_300_000].map(
      (current): PullEvent => ({ type: 'bytes', id: 'sha256:aaaaaaaaaaaaaaaa', current, size: 2_000_000 }),
    )
    let clock = 0
    const events = [LAYERS[1]!, ...bytes]
    const rows = screen(show(events, { terminal: true, now: () => (clock += 50) }), 80)
    expect(rows[0]).toMatch(/ 1\.3MB\/2MB$/)
    const slow = screen(show(events, { terminal: true, now: () => (clock += 1000) }), 80)
    expect(slow[0]).toMatch(/ 1\.3MB\/2MB \d+kB\/s$/)
  })

  it('has words of its own for pushing and copying', () => {
    const id = 'sha256:aaaaaaaaaaaaaaaa'
    const text = show(
      [
        { type: 'resolved', verb: 'push', reference: 'r.test/a:1', digest: ID },
        { type: 'layer', id, size: 2_000_000, phase: 'copying' },
        { type: 'layer', id, size: 2_000_000, phase: 'copied' },
        { type: 'layer', id: 'sha256:bbbbbbbbbbbbbbbb', size: 10, phase: 'mounted' },
        { type: 'done', verb: 'push', reference: 'r.test/a:1', digest: ID, fresh: true },
      ],
      {},
    )
    expect(text).toBe(
      [
        'Pushing to r.test/a:1',
        'aaaaaaaaaaaa: copying 2MB',
        'aaaaaaaaaaaa: copied',
        'bbbbbbbbbbbb: mounted from another repository',
        `Digest: ${ID}`,
        'Status: pushed in 1.0 s: r.test/a:1',
        '',
      ].join('\n'),
    )
  })

  it('counts finished layers where there are more than lines', () => {
    const events = Array.from({ length: 40 }, (_, index): PullEvent => {
      const id = `sha256:${String(index).padStart(12, '0')}`
      return { type: 'layer', id, size: 1, phase: index < 30 ? 'complete' : 'extracting' }
    })
    const text = show(events, { terminal: true, size: () => ({ columns: 80, rows: 20 }) })
    const lines = screen(text, 80)
    expect(lines[0]).toBe('30 of 40 layers complete')
    expect(lines.filter((line) => line.includes('Extracting'))).toHaveLength(10)
  })

  it('writes no control sequence off a terminal', () => {
    expect(show(LAYERS, {})).not.toContain('\u001b')
  })

  it('draws bytes seldom, and the last state always', () => {
    const bytes = Array.from(
      { length: 500 },
      (_, index): PullEvent => ({ type: 'bytes', id: 'sha256:a', current: index + 1, size: 500 }),
    )
    let draws = 0
    const events = [{ type: 'layer', id: 'sha256:a', size: 500, phase: 'downloading' } as const, ...bytes]
    let text = ''
    const view = createProgress({
      terminal: true,
      size: () => ({ columns: 80, rows: 24 }),
      now: () => 0,
      write: (part) => {
        draws += 1
        text += part
      },
    })
    for (const event of events) view.show(event)
    view.finish()
    expect(draws).toBe(2)
    expect(screen(text, 80)[0]).toContain('500B/500B')
  })
})
