import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PARSED_KB } from '../../bench/budget.ts'
import { RUNTIME_FLAGS } from '../../src/cli/oci/flags.ts'
import { VERBS } from '../../src/cli/oci/verbs.ts'

const PROJECT = join(import.meta.dirname, '../..')
const START = fs.readFileSync(join(PROJECT, 'scripts/start.cjs'), 'utf8')
const DIST = join(PROJECT, 'dist/runtime')

describe('the program of a verb', () => {
  it('is found past every flag that takes a value, and past no other', () => {
    const listed = /\^--\(([a-z|-]+)\)\$\//.exec(START)?.[1]?.split('|')
    const taking = RUNTIME_FLAGS.filter(({ kind }) => kind !== 'bool').map(({ name }) => name)
    expect(listed?.toSorted()).toEqual(taking.toSorted())
  })

  it('is there for the verbs that the start looks for, which are verbs', () => {
    const names = /\^\(([a-z|]+)\)\$\//.exec(START)?.[1]?.split('|') ?? []
    expect(names.toSorted()).toEqual(Object.keys(PARSED_KB).toSorted())
    for (const name of names) expect(VERBS).toHaveProperty(name)
  })

  it.each(Object.entries(PARSED_KB))('%s parses at most %i kB, in one file', (verb, most) => {
    expect(fs.statSync(join(DIST, verb, 'main.cjs')).size / 1000).toBeLessThan(most)
    // What a call loads beside it: nothing but Node's own modules.
    const script = `
      const Module = require('node:module'), load = Module._extensions['.cjs'] ?? Module._extensions['.js']
      const loaded = []
      for (const extension of ['.js', '.cjs']) Module._extensions[extension] = (module, path) => { loaded.push(path); return load(module, path) }
      process.argv.splice(1, 0, 'tscrun-runtime')
      process.on('exit', () => process._rawDebug(JSON.stringify(loaded)))
      require(${JSON.stringify(join(DIST, verb, 'main.cjs'))})
    `
    const args = verb === 'create' ? ['--bundle', '/nowhere', 'x'] : verb === 'exec' ? ['absent', 'true'] : ['absent']
    const { stderr } = spawnSync(process.execPath, ['-e', script, '--', '--root', '/nowhere', verb, ...args], {
      encoding: 'utf8',
    })
    const loaded = JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as string[]
    expect(loaded).toEqual([join(DIST, verb, 'main.cjs')])
  })
})
