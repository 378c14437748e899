import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { inGuest } from './harness.ts'
import { packStore } from './many-layers.ts'

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

/** Everything in test/guest/inner/, in one machine; /mnt/data is an ext4 disk with a store on it, /dev/vdb an empty one. */
async function runInner(): Promise<{ report: InnerReport | undefined; status: number; output: string }> {
  const share = mkdtempSync(join(tmpdir(), 'tscrun-guest-share-'))
  const file = join(share, 'report.json')
  const vitest = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--project', 'guest-inner']
  const reporters = ['--configLoader', 'runner', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const script = [
    'mkfs.ext4 -q /dev/vda',
    'mkdir /mnt/data',
    'mount /dev/vda /mnt/data',
    `tar -C /mnt/data --xattrs '--xattrs-include=*' -xpf ${share}/store.tar`,
    `TSCRUN_TEST_DATA=/mnt/data TSCRUN_TEST_SHARE=${share} exec "$@"`,
  ].join(' && ')
  try {
    await packStore(join(share, 'store.tar'), join(share, 'scratch'))
    const { status, stdout, stderr } = await inGuest(['sh', '-c', script, 'sh', ...vitest, ...reporters], {
      disks: [4096, 256],
      memory: 3072,
      shares: [share],
      timeoutMs: 900_000,
    })
    const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as InnerReport) : undefined
    return { report, status, output: `${stdout}\n${stderr}`.trim() }
  } finally {
    rmSync(share, { recursive: true })
  }
}

const { report, status, output } = await runInner()

describe('in the guest', () => {
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
