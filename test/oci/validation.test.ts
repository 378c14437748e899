import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { EXCEPTIONS } from './fixtures/exceptions.ts'
import { type Comparison, compare, describeComparison } from './fixtures/expected.ts'
import { PEERS, RUNTIME } from './fixtures/runtimes.ts'
import { buildPrograms, programs, runProgram, validate } from './fixtures/validation.ts'

const PAGE = join(import.meta.dirname, 'EXPECTED.md')

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
    if (process.env['TSCRUN_TEST_WRITE'] === '1') writeFileSync(PAGE, describeComparison(comparison))
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
})
