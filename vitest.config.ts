import { defineConfig } from 'vitest/config'

/** vitest cannot interrupt a blocked system call: such tests run one file at a time, in processes, under scripts/test.sh's clock. */
const SERIAL = {
  pool: 'forks',
  fileParallelism: false,
  testTimeout: 60_000,
  hookTimeout: 120_000,
  // A second by default, which a busy machine may take for a start.
  expect: { poll: { timeout: 30_000, interval: 20 } },
  // Two processors that others load, too: in CI a test of processes gets a second try, and the report names it.
  retry: process.env['CI'] === 'true' ? 1 : 0,
  // The bridge belongs to the host, which the tests leave alone: those about networks have hosts of their own.
  env: { TSCRUN_NETWORK: 'none' },
} as const

export default defineConfig({
  test: {
    // Files that root leaves in node_modules would be in the owner's way.
    cache: false,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          setupFiles: ['test/setup/seed.ts'],
          pool: 'forks',
          maxWorkers: '100%',
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'golden',
          include: ['test/golden/**/*.test.ts'],
          pool: 'forks',
          maxWorkers: '100%',
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts', 'test/advisories/**/*.test.ts'],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
        },
      },
      {
        test: {
          name: 'clients',
          include: ['test/clients/**/*.test.ts'],
          setupFiles: ['test/setup/seed.ts'],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
        },
      },
      {
        test: {
          name: 'oci',
          include: ['test/oci/**/*.test.ts'],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
        },
      },
      // A lot of everything; how much is asked for by the environment (scripts/soak.mjs).
      {
        test: {
          name: 'soak',
          include: ['test/soak/**/*.test.ts'],
          // Two starts of a machine for each cut: only where it is asked for, as `npm run soak` does.
          exclude: process.env['TSCRUN_SOAK_STORE_POWER'] === undefined ? ['test/soak/store-power.test.ts'] : [],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
        },
      },
      // Each boots one machine; the tests of guest-inner and guest-systemd are their results.
      { test: { name: 'guest', include: ['test/guest/*.test.ts'], ...SERIAL } },
      {
        test: {
          name: 'guest-inner',
          include: process.env['TSCRUN_IN_GUEST'] === '1' ? ['test/guest/inner/**/*.test.ts'] : [],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
          // Emulated processors are ten times slower: the modules are loaded once.
          isolate: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'guest-systemd',
          include: process.env['TSCRUN_IN_GUEST'] === '1' ? ['test/guest/systemd/**/*.test.ts'] : [],
          globalSetup: ['test/setup/leaks.ts'],
          ...SERIAL,
          isolate: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
