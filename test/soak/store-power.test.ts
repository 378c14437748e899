import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeImage, writeLayout } from '../clients/fixtures/images.ts'
import { PROJECT, TSCRUN } from '../kernel/fixtures/machine.ts'
import { randomOf, soakOf } from '../setup/soak.ts'

/**
 * A machine with a disk of its own takes images in and removes them until its power is cut: it is reset without a word to
 * its filesystems, so what was in memory alone is lost. The next start finds every listed image whole.
 */
const { count: cuts, seed } = soakOf('store_power', 1)

let directory: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-power-'))
  mkdirSync(join(directory, 'share'))
  const files = Array.from({ length: 400 }, (_, i) => ({ name: `lib/file${i}`, content: randomBytes(3000) }))
  const large = [{ name: 'large', content: randomBytes(3 << 20) }]
  const small = Array.from({ length: 300 }, (_, i) => ({ name: `etc/file${i}`, content: randomBytes(500) }))
  for (const [name, layer] of Object.entries({ one: large, two: small })) {
    writeLayout(join(directory, 'share', name), [await makeImage({ layers: [files, layer] })])
  }
  writeFileSync(join(directory, 'disk'), '')
  truncateSync(join(directory, 'disk'), 512 << 20)
  await execa('mkfs.ext4', ['-q', join(directory, 'disk')])
})
afterAll(() => rmSync(directory, { recursive: true }))

/** The journal is written each second: names come to the disk long before the bytes that the kernel still holds back. */
const SCRIPT = `
  tscrun="$1 --root /mnt/store --runroot /run/tscrun" share=$2 seconds=$3
  mount -t ext4 -o commit=1 /dev/vda /mnt || exit 1
  $tscrun image verify --deep >"$share/verified" 2>&1
  echo $? >"$share/status"
  [ "$seconds" = 0 ] && exit 0
  (sleep "$seconds"; echo b >/proc/sysrq-trigger) &
  while :; do
    for name in one two; do
      $tscrun load -q -i "$share/$name"
      $tscrun rmi -f image
      $tscrun load -q -i "$share/$name"
    done
  done >/dev/null 2>&1`

it(
  `finds every listed image whole after a power cut, ${cuts} times`,
  async () => {
    const random = randomOf(seed)
    const share = join(directory, 'share')
    for (let cut = 0; cut <= cuts; cut++) {
      const seconds = cut === cuts ? 0 : 4 + Math.floor(random() * 16)
      const options = ['--disk', join(directory, 'disk'), '--share', share, '--timeout', '280']
      const command = ['sh', '-c', SCRIPT, 'sh', TSCRUN, share, `${seconds}`]
      const script = join(PROJECT, 'test/guest/guest.sh')
      const { exitCode, stderr } = await execa('sh', [script, ...options, '--', ...command], {
        cwd: PROJECT,
        reject: false,
      })
      // A machine that is reset tells of no end of its command.
      if (seconds > 0) expect(stderr).toContain('sysrq: Resetting')
      else expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      const found = readFileSync(join(share, 'verified'), 'utf8')
      expect(readFileSync(join(share, 'status'), 'utf8'), `${found} (cut ${cut}, seed ${seed})`).toBe('0\n')
    }
  },
  Math.max(600_000, cuts * 180_000),
)
