import { execa } from 'execa'
import fc from 'fast-check'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { openImageStore } from '../../src/images/store.ts'
import { takeIn } from '../../src/images/take-in.ts'
import { openImageSource } from '../../src/images/transports.ts'
import '../setup/seed.ts'
import { makeImage, writeLayout } from './fixtures/images.ts'
import { layer, tarLayers } from './fixtures/nasty-layers.ts'
import { readDirectory, readLayers, type Tree, treeDifferences } from './fixtures/trees.ts'

let work: string
beforeEach(() => {
  work = fs.mkdtempSync(join(tmpdir(), 'tscrun-umoci-'))
})
afterEach(() => {
  fs.rmSync(work, { recursive: true })
})

/** Unpacks the layers by tscrun and by umoci, and reads both trees. */
async function bothTrees(layers: readonly Buffer[], round: string): Promise<readonly [Tree, Tree]> {
  const at = (name: string): string => join(work, round, name)
  const layout = at('layout')
  writeLayout(layout, [await makeImage({ layers })])
  await execa('umoci', ['unpack', '--image', `${layout}:image`, at('bundle')])
  const store = openImageStore({ root: at('store') })
  const source = await openImageSource(`oci:${layout}:image`, { tlsVerify: false, work: at('work') })
  try {
    const stored = await takeIn(store, source, { platform: hostPlatform(), names: ['image:1'] })
    fs.mkdirSync(at('mounted'))
    return [await readLayers(stored.layers, at('mounted')), await readDirectory(at('bundle/rootfs'))]
  } finally {
    await source.close()
  }
}

describe('an image with a bit of everything in its layers', () => {
  it('has the tree that umoci unpacks', { timeout: 120_000 }, async () => {
    let round = 0
    const property = fc.asyncProperty(fc.tuple(layer, layer, layer), async (layers) => {
      const name = `round${round++}`
      const [ours, umocis] = await bothTrees(await tarLayers(join(work, name), layers), name)
      expect(treeDifferences(ours, umocis)).toEqual([])
      expect(ours.size).toBeGreaterThan(30)
    })
    await fc.assert(property, { numRuns: Number(process.env['TSCRUN_UNPACK_RUNS'] ?? 3), endOnFailure: true })
  })
})
