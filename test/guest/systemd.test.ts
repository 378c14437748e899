import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inGuest } from './harness.ts'
import { describeInner, type InnerRun, readReport, vitestIn } from './inner-report.ts'

/** Everything in test/guest/systemd/, in one machine that systemd has booted; /dev/vda is an empty disk. */
async function runInner(): Promise<InnerRun> {
  const share = mkdtempSync(join(tmpdir(), 'tscrun-guest-share-'))
  try {
    const { status, stdout, stderr } = await inGuest(vitestIn(share, 'guest-systemd'), {
      systemd: true,
      disks: [64],
      shares: [share],
      timeoutMs: 900_000,
    })
    return { report: readReport(share), status, output: `${stdout}\n${stderr}`.trim() }
  } finally {
    rmSync(share, { recursive: true })
  }
}

describeInner('under systemd', await runInner())
