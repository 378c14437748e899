// npm run soak [-- --only NAME[,NAME...]]: the tests of test/soak, with the amounts that they are made for. Each takes its
// amount from the environment, so that a smaller or a larger one can be asked for; `npm test` runs them with small ones.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const FULL = {
  TSCRUN_SOAK_ARCHIVES: '4000',
  TSCRUN_SOAK_BYTES: '1000000000',
  TSCRUN_SOAK_CYCLES: '1000',
  TSCRUN_SOAK_FAILPOINTS: '1000000',
  TSCRUN_SOAK_MIXED: '25',
  TSCRUN_SOAK_NETWORKS: '1000',
  TSCRUN_SOAK_RESIDENT: '10000',
  TSCRUN_SOAK_STORE_KILLS: '200',
  TSCRUN_SOAK_STORE_MIXED: '300',
  TSCRUN_SOAK_STORE_POWER: '20',
}
const root = fileURLToPath(new URL('..', import.meta.url))

const { values } = parseArgs({ options: { only: { type: 'string' } } })
const names = values.only?.split(',') ?? []
const missing = names.find((name) => !existsSync(`${root}test/soak/${name}.test.ts`))
if (missing !== undefined) {
  console.error(`soak: there is no test/soak/${missing}.test.ts`)
  process.exit(125)
}
if (process.geteuid() !== 0) {
  console.error('soak: starting containers needs root: sudo env PATH="$PATH" npm run soak')
  process.exit(1)
}
const filters = names.map((name) => `test/soak/${name}.test.ts`)
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'soak', '--testTimeout', '7200000', ...filters]
const apart = ['sh', 'scripts/apart.sh']
const [program, ...args] = [...apart, process.execPath, ...vitest]
const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', env: { ...FULL, ...process.env } })
if (error) throw error
process.exit(status ?? 1)
