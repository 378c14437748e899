import fc from 'fast-check'
import { type LayerMember, type MadeImage, makeImage, makeTar } from '../test/clients/fixtures/images.ts'
import { type Layer, tarLayers } from '../test/clients/fixtures/nasty-layers.ts'
import { type Item, item } from '../test/clients/fixtures/nasty-trees.ts'

const FILES_A_DIRECTORY = 50
/** What each layer does to the directories that all layers share; see nasty-layers.ts. */
const CHANGES = [
  ['files', 'files', 'files', 'files'],
  ['files', 'opaque', 'removed', 'nothing'],
  ['opaque', 'files', 'files', 'files, itself omitted'],
  ['files, itself omitted', 'removed', 'opaque', 'files'],
] as const satisfies readonly Layer['changes'][]
export const LAYERS = CHANGES.length
const NASTY_ITEMS = 150

/**
 * An image of plain files, so many and so large, with a little of everything else in each layer: links, devices, holes, setid
 * bits, owners, attributes, capabilities, times to the nanosecond, names that are no text, whiteouts, opaque directories,
 * files that a later layer replaces. `directory`, a new one, is where those are made.
 */
export async function makeBenchImage(directory: string, files: number, fileBytes: number): Promise<MadeImage> {
  const next = halfRandom(2463534242)
  const nasty = await tarLayers(directory, CHANGES.map(nastyLayer))
  const layers: Buffer[] = []
  for (const [layer, more] of nasty.entries()) {
    const plain = await makeTar(membersOf(layer, Math.ceil(files / LAYERS), () => next(fileBytes)))
    // A tar ends with two blocks of zeros; what comes before them can be continued.
    layers.push(Buffer.concat([plain.subarray(0, -1024), more]))
  }
  return makeImage({ layers, config: { Cmd: ['/none'] } })
}

/** The same in every run. Holes are small, for most programs write them. */
function nastyLayer(changes: Layer['changes'], number: number): Layer {
  const items = fc.sample(item, { numRuns: NASTY_ITEMS, seed: number + 1 }).map((one): Item => {
    const [uid, gid] = one.owner
    return { ...one, owner: [uid % 65_535, gid % 65_535], hole: Math.min(one.hole, 64 << 10) }
  })
  const [fresh] = items
  if (fresh === undefined) throw new Error('a sample has items')
  return { format: 'pax', items, changes, fresh }
}

function membersOf(layer: number, files: number, content: () => Buffer): LayerMember[] {
  const top = `usr/share/layer${layer}`
  // All directories are described: of others every program makes something else.
  const directories = ['usr', 'usr/share', ...(layer === 0 ? [] : ['usr/share/layer0']), top]
  const members = directories.map((name): LayerMember => ({ name, type: 'directory', mode: 0o755 }))
  // Each layer removes a directory of the lowest.
  if (layer > 0) members.push({ name: `usr/share/layer0/.wh.${layer}`, content: '' })
  for (let index = 0; index < files; index++) {
    const directory = `${top}/${Math.floor(index / FILES_A_DIRECTORY)}`
    const mtime = new Date((1_600_000_000 + layer * files + index) * 1000)
    if (index % FILES_A_DIRECTORY === 0) members.push({ name: directory, type: 'directory', mode: 0o755, mtime })
    members.push({ name: `${directory}/file${index}`, mode: 0o644, mtime, content: content() })
  }
  return members
}

/** Bytes that gzip to about 40 %, the same in every run: 24 random bytes in each 64. */
function halfRandom(seed: number): (size: number) => Buffer {
  let state = seed
  return (size) => {
    const bytes = Buffer.alloc(size, 0x20)
    for (let at = 0; at < size; at++) {
      if (at % 64 >= 24) continue
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes[at] = state & 0xff
    }
    return bytes
  }
}
