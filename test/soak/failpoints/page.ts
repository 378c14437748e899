import { POINTS } from './points.ts'

export const VICTIMS = ['cli', 'monitor', 'init', 'all'] as const

/** What was seen after kills of a command at a point. */
export interface Row {
  /** By victim, what `ps -a` and others have said. */
  readonly said: Map<string, Set<string>>
  /** Who has removed what was left. */
  readonly cleaned: Set<string>
}

/** By command and point, in the order in which these come. */
export type Page = Map<string, Map<string, Row>>

export function rowOf(page: Page, command: string, point: string): Row {
  const rows = page.get(command) ?? new Map<string, Row>()
  const row = rows.get(point) ?? { said: new Map<string, Set<string>>(), cleaned: new Set<string>() }
  page.set(command, rows.set(point, row))
  return row
}

export function addRow(page: Page, command: string, point: string, seen: Row | undefined): void {
  const row = rowOf(page, command, point)
  for (const [victim, words] of seen?.said ?? []) row.said.set(victim, new Set(words))
  for (const by of seen?.cleaned ?? []) row.cleaned.add(by)
}

export function note({ said, cleaned }: Row, victim: string, status: string, by: string): void {
  said.set(victim, (said.get(victim) ?? new Set()).add(status))
  cleaned.add(by)
}

const MADE = '<!-- Made by TSCRUN_TEST_WRITE=1 npm run soak -- --only failpoints -->'
const NOBODY = '-'

/** The part of docs/kills.md that is made, anew. */
export function writtenPage(text: string, page: Page): string {
  const [words = ''] = text.split(MADE)
  const points = POINTS.map(({ name, role, about }) => `| ${name} | ${PASSER[role]} | ${about} |`)
  const tables = [...page].flatMap(([command, rows]) => ['', `### \`${command}\``, ...HEAD, ...linesOf(rows)])
  return [
    `${words}${MADE}`,
    '',
    '## The points',
    '| point | who comes by | what is about to happen |',
    '|---|---|---|',
    ...points,
    '',
    '## What is then',
    ...tables.slice(1),
    '',
  ].join('\n')
}

const PASSER = { cli: 'command line', monitor: 'monitor', init: 'first process', other: 'others' } as const
const HEAD = [
  '| killed before | the command line is killed | the monitor | the first process | all | what is left goes with |',
  '|---|---|---|---|---|---|',
] as const

/** Points of which the same is to be said, in one line. */
function linesOf(rows: ReadonlyMap<string, Row>): string[] {
  const cells = (row: Row): string =>
    [...VICTIMS.map((victim) => wordsOf(row.said.get(victim))), wordsOf(row.cleaned)].join(' | ')
  const lines: { names: string[]; said: string }[] = []
  for (const [name, row] of rows) {
    const last = lines.at(-1)
    if (last?.said === cells(row)) last.names.push(name)
    else lines.push({ names: [name], said: cells(row) })
  }
  return lines.map(({ names, said }) => `| ${names.join(', ')} | ${said} |`)
}

function wordsOf(words: ReadonlySet<string> | undefined): string {
  return words === undefined || words.size === 0 ? NOBODY : [...words].toSorted().join(' or ')
}

/** What the page says, to compare with. */
export function parsePage(text: string): Page {
  const page: Page = new Map()
  let command: string | undefined
  for (const line of (text.split(MADE)[1] ?? '').split('\n')) {
    command = /^### `(.*)`$/.exec(line)?.[1] ?? command
    if (command === undefined || !line.startsWith('| ') || line === HEAD[0]) continue
    const [names = '', ...cells] = line.slice(2, -2).split(' | ')
    for (const name of names.split(', ')) {
      const row = rowOf(page, command, name)
      VICTIMS.forEach((victim, index) => {
        const said = cells[index] ?? NOBODY
        if (said !== NOBODY) row.said.set(victim, new Set(said.split(' or ')))
      })
      for (const by of (cells[VICTIMS.length] ?? NOBODY).split(' or ')) if (by !== NOBODY) row.cleaned.add(by)
    }
  }
  return page
}
