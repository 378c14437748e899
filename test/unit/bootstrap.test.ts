import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** One that has nothing but this script; without Node it goes no further than its first questions. */
const checkout = mkdtempSync(join(tmpdir(), 'tscrun-bootstrap-'))
beforeAll(() => {
  mkdirSync(join(checkout, 'scripts'))
  cpSync(fileURLToPath(new URL('../../scripts/bootstrap.sh', import.meta.url)), join(checkout, 'scripts/bootstrap.sh'))
})
afterAll(() => rmSync(checkout, { recursive: true }))

const bootstrap = (env: Readonly<Record<string, string>>, ids = {}): SpawnSyncReturns<string> =>
  spawnSync('sh', ['scripts/bootstrap.sh'], {
    cwd: checkout,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: checkout, TSCRUN_NODE: '/nonexistent/node', ...env },
    ...ids,
  })
const NO_NODE = /^tscrun: the owner of the checkout \(uid \d+\) cannot run \/nonexistent\/node$/m

describe('the bootstrap', () => {
  it('finds its checkout, whatever CDPATH says', () => {
    const { status, stdout, stderr } = bootstrap({ CDPATH: checkout })
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' })
    expect(stderr).toMatch(NO_NODE)
  })

  it.runIf(process.getuid?.() === 0)('needs no home, also where the checkout is of a group that is not its own', () => {
    chownSync(checkout, 65_534, 1)
    const { status, stdout, stderr } = bootstrap({ HOME: '/nonexistent' }, { uid: 65_534, gid: 65_534 })
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' })
    expect(stderr).toMatch(NO_NODE)
  })

  it('believes npm only what is there, since npm ci succeeds on a full disk', () => {
    for (const [name, script] of [
      ['node', '[ "$1" != -p ] || echo x64'],
      ['npm', 'mkdir -p node_modules/half'],
    ] as const) {
      writeFileSync(join(checkout, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    }
    const { status, stderr } = bootstrap({ TSCRUN_NODE: join(checkout, 'node') })
    expect(stderr).toMatch(/^tscrun: npm ci has not written everything \(is the disk full\?\)$/m)
    expect(status).toBe(125)
  })
})
