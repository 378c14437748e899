import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const tscrun = fileURLToPath(new URL('../../bin/tscrun', import.meta.url))
let home = ''

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tscrun-launcher-'))
  writeFileSync(join(home, 'required.cjs'), "console.log('the caller ran it')\n")
  writeFileSync(join(home, 'vars'), `NODE_OPTIONS=--require=${join(home, 'required.cjs')}\n`)
})

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
})

describe('a file of variables for the container', () => {
  // --memory 1 ends the command after the file was read.
  it.each([['--env-file', 'vars'], ['--env-file=vars']])(
    'given by %s means nothing to the Node that runs tscrun',
    (...words) => {
      const { status, stdout, stderr } = spawnSync(tscrun, ['run', ...words, '--memory', '1', 'alpine'], {
        encoding: 'utf8',
        cwd: home,
      })
      expect({ status, stdout }).toEqual({ status: 125, stdout: '' })
      expect(stderr).toMatch(/^tscrun: --memory 1: [^\n]*\n$/)
    },
  )

  it('that is missing is named by tscrun, not by Node', () => {
    const { status, stderr } = spawnSync(tscrun, ['run', '--env-file', 'gone', 'alpine'], {
      encoding: 'utf8',
      cwd: home,
    })
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringMatching(/^tscrun: open gone: ENOENT \([^\n]+\)\n$/),
    })
  })
})
