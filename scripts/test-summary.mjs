// test-summary.mjs DIRECTORY: adds up <level>.json (vitest's) and <level>.status; names the tests that needed a second try,
// and why; prints `N passed, N failed`.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const dir = process.argv[2]
const sum = { passed: 0, failed: 0, skipped: 0 }

function report(level) {
  try {
    return JSON.parse(readFileSync(join(dir, `${level}.json`), 'utf8'))
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return undefined
  }
}

for (const file of readdirSync(dir).filter((name) => name.endsWith('.status'))) {
  const level = file.slice(0, -'.status'.length)
  const status = Number(readFileSync(join(dir, file), 'utf8'))
  const result = report(level)
  sum.passed += result?.numPassedTests ?? 0
  sum.skipped += (result?.numPendingTests ?? 0) + (result?.numTodoTests ?? 0)
  for (const test of result?.testResults.flatMap((file) => file.assertionResults) ?? []) {
    // A test that passed has the errors of the tries before.
    const [reason] = test.status === 'passed' ? test.failureMessages : []
    if (reason !== undefined) console.log(`${level}: second try: ${test.fullName}: ${reason.split('\n')[0]}`)
  }
  const failed = result?.numFailedTests ?? 0
  // A file that could not be loaded, a leak, the time limit: no test failed, but the level did.
  const broken = status !== 0 && failed === 0
  sum.failed += broken ? 1 : failed
  if (broken)
    console.log(`${level}: ended with ${status}${status === 124 ? ' (time limit)' : ''} although no single test failed`)
}

const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''
console.log(`${sum.passed} passed, ${sum.failed} failed${skipped}`)
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1
