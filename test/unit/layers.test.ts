import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { readSources, violations } from '../../scripts/layers.mjs'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))

function check(path: string, text: string, others: Record<string, string> = {}): string[] {
  return violations(new Map([[path, text], ...Object.entries(others)])).filter((line) => line.startsWith(`${path}:`))
}

describe('the folders of src/', () => {
  it('import only what lies below them', () => {
    expect(violations(readSources(SRC))).toEqual([])
  })
})

describe('the rule for folders', () => {
  it.each([
    ['security/a.ts', "import { b } from '../plan/b.ts'"],
    ['model/a.ts', "import type { b } from '../engine/b.ts'"],
    ['cgroups/a.ts', "import { b } from '../rootfs/b.ts'"],
    ['runtime/a.ts', "import { b } from '../overlayfs/b.ts'"],
    ['runtime/a.ts', "import { b } from '../images/b.ts'"],
    ['cli/a.ts', "import { run } from '../index.ts'"],
    ['cli/a.ts', "const { run } = await import('../index.ts')"],
    ['engine/a.ts', "export * from '../cli/b.ts'"],
    ['engine/a.ts', "import {\n  b,\n} from '../cli/b.ts'"],
    ['network/a.ts', "import koffi from 'koffi'"],
    ['engine/a.ts', "import { Command } from 'commander'"],
    ['somewhere/a.ts', ''],
  ])('refuses in %s: %s', (path, text) => {
    expect(check(path, text)).toHaveLength(1)
  })

  it.each([
    ['engine/a.ts', "import { b } from '../runtime/b.ts'"],
    ['plan/a.ts', "import { b } from '../cgroups/b.ts'"],
    ['plan/a.ts', "import { b } from './b.ts'"],
    ['syscall/a.ts', "import koffi from 'koffi'"],
    ['runtime/a.ts', "// import { b } from '../images/b.ts'"],
  ])('accepts in %s: %s', (path, text) => {
    expect(check(path, text)).toEqual([])
  })
})

describe('plan, spec and model', () => {
  it.each([
    "import { readFileSync } from 'node:fs'",
    "import { spawn } from 'node:child_process'",
    "import { syscall } from '../syscall/call.ts'",
    'const home = process.env.HOME',
    'const now = Date.now()',
  ])('are pure: %s', (text) => {
    expect(check('plan/a.ts', text)).toHaveLength(1)
  })

  it('may call a part of the OCI config process', () => {
    expect(check('plan/a.ts', 'function f(process: OciProcess) { return process.env }')).toEqual([])
    expect(check('plan/a.ts', 'const { process, root } = config\nprocess.env.map(f)')).toEqual([])
  })

  it('reach nothing impure through another folder, types aside', () => {
    const impure = { 'cgroups/b.ts': "import { openSync } from 'node:fs'" }
    expect(check('plan/a.ts', "import { b } from '../cgroups/b.ts'", impure)).toEqual([
      'plan/a.ts: is pure, reaches node:fs through cgroups/b.ts',
    ])
    expect(check('plan/a.ts', "import type { b } from '../cgroups/b.ts'", impure)).toEqual([])
    expect(check('plan/a.ts', "import { type b } from '../cgroups/b.ts'", impure)).toEqual([])
  })
})

describe('printing, exiting and argv', () => {
  it.each(['console.log(1)', 'process.stderr.write(text)', 'process.exit(1)', 'main(process.argv)'])(
    'are the command line alone: %s',
    (text) => {
      expect(check('engine/a.ts', text)).toHaveLength(1)
      expect(check('cli/a.ts', text)).toEqual([])
    },
  )
})

describe('an error', () => {
  it('is never caught unseen', () => {
    expect(check('engine/a.ts', 'try { f() } catch { g() }')).toHaveLength(1)
    expect(check('engine/a.ts', 'try { f() } catch (error) { g(error) }')).toEqual([])
  })
})
