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
import { type Item, item, makeItem, plantTree, setTime, showTree, tarOf } from './fixtures/nasty-trees.ts'

let work: string
beforeEach(() => {
  work = fs.mkdtempSync(join(tmpdir(), 'tscrun-umoci-'))
})
afterEach(() => {
  fs.rmSync(work, { recursive: true })
})

/** Unpacks the layers by tscrun and by umoci, and shows both trees. */
async function bothTrees(layers: readonly Buffer[], round: string): Promise<readonly (readonly string[])[]> {
  const at = (name: string): string => join(work, round, name)
  const layout = at('layout')
  writeLayout(layout, [await makeImage({ layers })])
  await execa('umoci', ['unpack', '--image', `${layout}:image`, at('bundle')])
  const store = openImageStore({ root: at('store') })
  const source = await openImageSource(`oci:${layout}:image`, { tlsVerify: false, work: at('work') })
  try {
    const stored = await takeIn(store, source, { platform: hostPlatform(), names: ['image:1'] })
    fs.mkdirSync(at('mounted'))
    return [await showTree(stored.layers, at('mounted')), await showTree([at('bundle/rootfs')], '')]
  } finally {
    await source.close()
  }
}

/** What a layer does to a directory that the lowest layer has, with files `0` to `3` in it. */
type Change = (typeof CHANGES)[number]
const CHANGES = ['nothing', 'files', 'files, itself omitted', 'opaque', 'removed'] as const
const DIRECTORIES = [0, 1, 2, 3]

interface Layer {
  readonly format: 'pax' | 'gnu'
  readonly items: readonly Item[]
  readonly changes: readonly Change[]
  /** Metadata of what is made in the shared directories. */
  readonly fresh: Item
}

const layer: fc.Arbitrary<Layer> = fc.record({
  format: fc.constantFrom('pax', 'pax', 'gnu'),
  items: fc.array(item, { minLength: 10, maxLength: 40 }),
  changes: fc.tuple(...DIRECTORIES.map(() => fc.constantFrom(...CHANGES))),
  fresh: item,
})

/** The tree of a layer: what is its own below a directory of its own, and what it changes in those that all share. */
function plantLayer(tree: string, number: number, { items, changes, fresh }: Layer, gone: Set<number>): Buffer[] {
  fs.mkdirSync(tree)
  const at = (name: string): Buffer => Buffer.from(join(tree, name))
  // Of what no layer describes, the root too, everybody makes something else.
  const paths = [...(number === 0 ? [Buffer.from(tree)] : []), ...plantTree(join(tree, `layer${number}`), items)]
  const file = (name: string, mode = 0o640): void => {
    makeItem(at(name), 'file', { ...fresh, mode, hole: 0 })
    setTime(at(name), fresh.time)
    paths.push(at(name))
  }
  const directory = (name: string, isListed: boolean): void => {
    fs.mkdirSync(at(name))
    fs.chmodSync(at(name), 0o1700 | (number << 3))
    if (isListed) paths.push(at(name))
  }
  directory('shared', number === 0)
  for (const index of DIRECTORIES) {
    const name = `shared/${index}`
    const change = number === 0 ? 'files' : (changes[index] ?? 'nothing')
    if (change === 'nothing' || (change === 'files, itself omitted' && gone.has(index))) continue
    if (change === 'removed') {
      file(`shared/.wh.${index}`)
      gone.add(index)
      continue
    }
    directory(name, change !== 'files, itself omitted')
    // A directory that is merged with none shows its whiteouts: a name that cannot be looked up. All overlays have that.
    const isNew = gone.delete(index)
    const hides = change !== 'opaque' && !isNew
    if (change === 'opaque') file(`${name}/.wh..wh..opq`)
    for (const child of [0, 1, 2, 3]) {
      // The lowest has four; each further layer removes one, replaces one and adds one.
      if (number === 0 || child === 1) file(`${name}/${child}`, 0o600 | number)
      else if (child === 2 && hides) file(`${name}/.wh.${child}`)
      else if (child === 3) file(`${name}/new${number}`)
    }
    setTime(at(name), [1_700_000_000 + number, 5])
  }
  setTime(at('shared'), [1_700_000_000, number])
  setTime(at('.'), [1_500_000_000, 0])
  return paths
}

describe('an image with a bit of everything in its layers', () => {
  it('has the tree that umoci unpacks', { timeout: 120_000 }, async () => {
    let round = 0
    const property = fc.asyncProperty(fc.tuple(layer, layer, layer), async (layers) => {
      const name = `round${round++}`
      const gone = new Set<number>()
      const tars: Buffer[] = []
      for (const [number, one] of layers.entries()) {
        fs.mkdirSync(join(work, name, String(number)), { recursive: true })
        const tree = join(work, name, String(number), 'tree')
        const paths = plantLayer(tree, number, one, gone)
        tars.push(await tarOf(tree, paths, one.format))
      }
      const [ours, umocis] = await bothTrees(tars, name)
      expect(ours).toEqual(umocis)
    })
    await fc.assert(property, { numRuns: Number(process.env['TSCRUN_UNPACK_RUNS'] ?? 3), endOnFailure: true })
  })
})
