import { closeSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isHeld, lockDirectory } from '../../src/engine/state/directory-lock.ts'

let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'tscrun-lock-'))
})
afterAll(() => rmSync(work, { recursive: true }))

it('is held while somebody has it locked, and by nobody when it is gone', () => {
  const directory = join(work, 'container')
  mkdirSync(directory)
  expect(isHeld(directory)).toBe(false)
  const fd = lockDirectory(directory)
  expect(isHeld(directory)).toBe(true)
  expect(lockDirectory(directory)).toBeUndefined()
  closeSync(fd ?? -1)
  expect(isHeld(directory)).toBe(false)
  // Another command may remove it between the finding and the asking.
  rmdirSync(directory)
  expect(isHeld(directory)).toBe(false)
})
