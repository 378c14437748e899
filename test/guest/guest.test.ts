import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inGuest } from './harness.ts'
import { describeInner, type InnerRun, readReport, vitestIn } from './inner-report.ts'
import { packStore } from './many-layers.ts'

/** Everything in test/guest/inner/, in one machine; /mnt/data is an ext4 disk with a store on it, /dev/vdb an empty one. */
async function runInner(): Promise<InnerRun> {
  const share = mkdtempSync(join(tmpdir(), 'tscrun-guest-share-'))
  const script = [
    'mkfs.ext4 -q /dev/vda',
    'mkdir /mnt/data',
    'mount /dev/vda /mnt/data',
    `tar -C /mnt/data --xattrs '--xattrs-include=*' -xpf ${share}/store.tar`,
    `TSCRUN_TEST_DATA=/mnt/data TSCRUN_TEST_SHARE=${share} exec "$@"`,
  ].join(' && ')
  try {
    await packStore(join(share, 'store.tar'), join(share, 'scratch'))
    const command = ['sh', '-c', script, 'sh', ...vitestIn(share, 'guest-inner')]
    const { status, stdout, stderr } = await inGuest(command, {
      disks: [4096, 256],
      memory: 3072,
      shares: [share],
      timeoutMs: 1_800_000,
    })
    return { report: readReport(share), status, output: `${stdout}\n${stderr}`.trim() }
  } finally {
    rmSync(share, { recursive: true })
  }
}

describeInner('in the guest', await runInner())
