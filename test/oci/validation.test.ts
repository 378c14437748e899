import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { EXCEPTIONS } from './fixtures/exceptions.ts'
import { type Comparison, compare, describeComparison, summary } from './fixtures/expected.ts'
import { PEERS, RUNTIME } from './fixtures/runtimes.ts'
import { buildPrograms, programs, runProgram, validate } from './fixtures/validation.ts'

const PAGE = join(import.meta.dirname, 'EXPECTED.md')

const DOCS = join(import.meta.dirname, '..', '..', 'docs', 'oci-runtime.md')
const TABLE = /(\n\n)\| runtime \|[^]*?\n(\n)/

/** `runc 1.1.5` and so on: the first line of each `--version`. */
function versions(): Record<'runc' | 'crun' | 'tscrun', string> {
  const of = ([path = '']: readonly string[]): string =>
    execFileSync(path, ['--version'], { encoding: 'utf8' }).split('\n')[0]?.replace(' version', '') ?? path
  return { runc: of(PEERS.runc), crun: of(PEERS.crun), tscrun: of([RUNTIME]) }
}

describe('the validation programs of the OCI runtime-tools', () => {
  let comparison: Comparison
  beforeAll(async () => {
    await buildPrograms()
    // Most of their time they wait.
    const [runc, crun, tscrun] = await Promise.all([validate(PEERS.runc), validate(PEERS.crun), validate([RUNTIME])])
    comparison = compare({ runc, crun, tscrun })
    // Some send a signal to a shell that may not have set its trap yet: on a busy machine any runtime can lose once.
    const again = new Map(tscrun)
    for (const program of comparison.behind) again.set(program, await runProgram(program, [RUNTIME]))
    comparison = compare({ runc, crun, tscrun: again })
    if (process.env['TSCRUN_TEST_WRITE'] === '1') {
      writeFileSync(PAGE, describeComparison(comparison))
      writeFileSync(DOCS, readFileSync(DOCS, 'utf8').replace(TABLE, `$1${summary(comparison, versions())}\n$2`))
    }
  }, 600_000)

  it.each(['runc', 'crun'] as const)('can say something here: %s passes what the plainest asks', (name) => {
    const verdicts = [...(comparison.results[name].get('default')?.values() ?? [])]
    expect(verdicts.filter(({ outcome }) => outcome === 'ok').length).toBeGreaterThan(100)
    expect(verdicts.filter(({ outcome }) => outcome === 'not ok')).toEqual([])
  })

  it('say nothing worse of tscrun-runtime than of runc and crun, on this machine', () => {
    expect(comparison.missing).toEqual([])
  })

  it('are in the table of test/oci/EXPECTED.md, with the exceptions', () => {
    const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : ''
    for (const program of programs()) expect(page).toContain(`| ${program} |`)
    for (const { because, sentence } of EXCEPTIONS) {
      expect(page).toContain(because)
      expect(page).toContain(sentence)
    }
  })

  it('have their totals in docs/oci-runtime.md, as the page of results has them', () => {
    const rows = readFileSync(PAGE, 'utf8').match(/^\| \w+ \|(?: [0-9]+ passed.*\|){3}$/gm) ?? []
    const cells = rows.map((row) => row.split('|').slice(2, 5))
    const totals = [0, 1, 2].map((column) => {
      const count = (words: RegExp): number =>
        cells.reduce((sum, row) => sum + Number(words.exec(row[column] ?? '')?.[1] ?? 0), 0)
      const whole = cells.filter((row) => row[column]?.includes('failed') === false).length
      return `| ${whole} of ${rows.length} | ${count(/([0-9]+) passed/)} | ${count(/([0-9]+) failed/)} |`
    })
    const [, , ...lines] = (TABLE.exec(readFileSync(DOCS, 'utf8'))?.[0] ?? '').trim().split('\n')
    expect(lines.map((line) => line.replace(/^\| [^|]+ \| [0-9-]+ /, ''))).toEqual(totals)
  })

  it('have no program in the table that is not there', () => {
    const page = readFileSync(PAGE, 'utf8')
    const named = [...page.matchAll(/^\| (\w+) \| [0-9]+ passed/gm)].map(([, name]) => name)
    expect(named).toEqual(programs())
  })
})
