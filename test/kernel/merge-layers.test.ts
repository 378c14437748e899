import { execFileSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeNode, setXattr } from '../../src/images/extractor/kernel.ts'
import { mergeLayers } from '../../src/images/extractor/merge.ts'
import '../setup/seed.ts'

/** What a layer has under a name; a directory may hide what is below it by either mark. */
type Node =
  | { readonly kind: 'file' }
  | { readonly kind: 'whiteout' }
  | { readonly kind: 'directory'; readonly hides: 'nothing' | 'inside' | 'beside'; readonly members: Members }
type Members = Readonly<Record<string, Node>>

/** The same few names, so that layers meet. */
function membersOf(depth: number): fc.Arbitrary<Members> {
  const plain = fc.constantFrom<Node>({ kind: 'file' }, { kind: 'whiteout' })
  if (depth === 0) return fc.dictionary(fc.constantFrom('a', 'b', 'c'), plain)
  const directory = fc.record<Node & { kind: 'directory' }>({
    kind: fc.constant('directory'),
    hides: fc.constantFrom('nothing', 'nothing', 'inside', 'beside'),
    members: membersOf(depth - 1),
  })
  return fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.oneof(plain, directory, directory))
}

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-merge-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Writes a layer with overlayfs' marks or with marks by name; each file tells where it comes from. */
function write(place: string, members: Members, layer: number, marks: 'overlay' | 'names'): void {
  for (const [name, node] of Object.entries(members)) {
    const path = join(place, name)
    if (node.kind === 'file') writeFileSync(path, `${layer}`)
    else if (node.kind === 'whiteout') {
      if (marks === 'names') writeFileSync(join(place, `.wh.${name}`), '')
      else makeNode(Buffer.from(path), 'char', 0, 0, 0)
    } else {
      mkdirSync(path)
      chmodSync(path, 0o700 + layer)
      write(path, node.members, layer, marks)
      if (node.hides === 'nothing') continue
      if (marks === 'overlay') setXattr(Buffer.from(path), 'trusted.overlay.opaque', Buffer.from('y'))
      else writeFileSync(node.hides === 'inside' ? join(path, '.wh..wh..opq') : join(place, `.wh.${name}`), '')
    }
  }
}

/** A line for each name: its mode, and the content of files. */
function listing(place: string, prefix = ''): string[] {
  return readdirSync(place)
    .toSorted()
    .flatMap((name) => {
      const path = join(place, name)
      const stats = lstatSync(path, { throwIfNoEntry: false })
      // Overlayfs lists a directory that one layer alone has as it is, with the whiteouts in it; they cannot be opened.
      if (stats === undefined) return []
      const line = `${prefix}${name} ${stats.mode.toString(8)}`
      if (stats.isDirectory()) return [line, ...listing(path, `${prefix}${name}/`)]
      return [`${line} ${readFileSync(path, 'utf8')}`]
    })
}

/** What the kernel makes of the layers, bottom to top. */
function overlaid(layers: readonly string[]): string[] {
  const place = join(directory, 'mounted')
  mkdirSync(place)
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${layers.toReversed().join(':')}`, place])
  try {
    return listing(place)
  } finally {
    execFileSync('umount', [place])
    rmSync(place, { recursive: true })
  }
}

function merged(layers: readonly string[]): string[] {
  const place = join(directory, 'merged')
  mkdirSync(place)
  mergeLayers(
    Buffer.from(place),
    layers.map((layer) => Buffer.from(layer)),
  )
  const found = listing(place)
  rmSync(place, { recursive: true })
  return found
}

describe('layers copied into one tree', () => {
  it('are what overlayfs shows of them, with its own marks and with marks by name', () => {
    fc.assert(
      fc.property(fc.array(membersOf(2), { minLength: 2, maxLength: 5 }), (stack) => {
        const made = (marks: 'overlay' | 'names'): string[] =>
          stack.map((members, layer) => {
            const place = join(directory, `${marks}${layer}`)
            mkdirSync(place)
            write(place, members, layer, marks)
            return place
          })
        const [own, named] = [made('overlay'), made('names')]
        try {
          const expected = overlaid(own)
          expect(merged(own)).toEqual(expected)
          expect(merged(named)).toEqual(expected)
        } finally {
          for (const place of [...own, ...named]) rmSync(place, { recursive: true })
        }
      }),
      { numRuns: 30 },
    )
  })
})
