import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

/** What vitest's JSON reporter says of one test. */
interface InnerTest {
  readonly fullName: string
  readonly status: 'passed' | 'failed' | 'skipped' | 'pending' | 'todo'
  readonly failureMessages: readonly string[]
}

interface InnerReport {
  readonly success: boolean
  readonly testResults: readonly {
    readonly name: string
    readonly message: string
    readonly assertionResults: readonly InnerTest[]
  }[]
}

/** A run of vitest inside a machine. */
export interface InnerRun {
  /** Undefined where it did not get that far. */
  readonly report: InnerReport | undefined
  readonly status: number
  readonly output: string
}

const FILE = 'report.json'

/** The command that runs a vitest project in a machine and reports to `share`, a directory the host sees too. */
export function vitestIn(share: string, project: string): string[] {
  const vitest = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--project', project]
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${join(share, FILE)}`]
  return [...vitest, '--configLoader', 'runner', ...reporters]
}

/** The report that `vitestIn` left in `share`. */
export function readReport(share: string): InnerReport | undefined {
  const file = join(share, FILE)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as InnerReport) : undefined
}

/** Each test of the machine as one of ours. */
export function describeInner(name: string, { report, status, output }: InnerRun): void {
  describe(name, () => {
    it('every test file ran to its end', () => {
      expect(report, output).toBeDefined()
      const broken = report?.testResults.filter((file) => file.message !== '' && file.assertionResults.length === 0)
      expect(broken).toEqual([])
      // A leak at the end, for example, fails no single test.
      if (report?.success === true) expect(status, output).toBe(0)
    })

    for (const test of report?.testResults.flatMap((file) => file.assertionResults) ?? []) {
      it(test.fullName, () => {
        expect(test.failureMessages.join('\n')).toBe('')
        // What a test needs is promised here, so a skip hides a defect.
        expect(test.status).toBe('passed')
      })
    }
  })
}
