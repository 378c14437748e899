import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import {
  BUSYBOX_CONFIG,
  busyboxMembers,
  type LayerMember,
  makeImage,
  makeTar,
  pushImages,
} from '../clients/fixtures/images.ts'
import { startRegistry } from '../clients/fixtures/registry.ts'

const TSCRUN = fileURLToPath(new URL('../../bin/tscrun', import.meta.url))

/** Sizes of the images `deep:N`: on both sides of 127, where mount options of old ended, and beyond. */
export const DEPTHS = [101, 127, 200] as const

/**
 * What layer `n` does, 1 being the first above busybox: a file of its own in /kept, and one in /reset, whose older
 * content it hides in every twentieth layer; every fifth removes the file that came three layers before, and one removes
 * a whole directory.
 */
export function layerMembers(n: number): LayerMember[] {
  const name = String(n)
  return [
    { name: 'current', mode: 0o644, content: name },
    { name: 'kept', type: 'directory', mode: 0o755 },
    { name: `kept/${name}`, mode: 0o644, uid: 1000 + n, content: name },
    ...(n % 5 === 0 ? [{ name: `kept/.wh.${n - 3}`, content: '' }] : []),
    { name: 'reset', type: 'directory', mode: 0o755 },
    ...(n % 20 === 0 ? [{ name: 'reset/.wh..wh..opq', content: '' }] : []),
    { name: `reset/${name}`, mode: 0o644, content: name },
    ...(n === 50 ? [{ name: 'gone', type: 'directory' } as const, { name: 'gone/file', content: name }] : []),
    ...(n === 60 ? [{ name: '.wh.gone', content: '' }] : []),
  ]
}

/** The lines `path:content` that `grep . /current /kept/* /reset/*` then prints in an image of so many layers, sorted. */
export function expectedFiles(depth: number): string[] {
  const files = new Map<string, string>()
  for (let n = 1; n < depth; n++) {
    const name = String(n)
    files.set('/current', name)
    files.set(`/kept/${name}`, name)
    if (n % 5 === 0) files.delete(`/kept/${n - 3}`)
    if (n % 20 === 0) for (const path of files.keys()) if (path.startsWith('/reset/')) files.delete(path)
    files.set(`/reset/${name}`, name)
  }
  return [...files].map(([path, content]) => `${path}:${content}`).toSorted()
}

/** Packs a store with the images `deep:N` into a tar with its extended attributes: to unpack 200 layers would take minutes in the guest. */
export async function packStore(tar: string, scratch: string): Promise<void> {
  const store = join(scratch, 'store')
  mkdirSync(scratch)
  const registry = await startRegistry()
  try {
    const layers = await Promise.all(
      Array.from({ length: Math.max(...DEPTHS) - 1 }, (_, index) => makeTar(layerMembers(index + 1))),
    )
    const bottom = await makeTar(busyboxMembers())
    for (const depth of DEPTHS) {
      const image = await makeImage({ layers: [bottom, ...layers.slice(0, depth - 1)], config: BUSYBOX_CONFIG })
      const name = await pushImages(registry.host, `deep:${depth}`, [image])
      await execa(TSCRUN, [
        '--root',
        store,
        '--runroot',
        join(scratch, 'run'),
        'pull',
        '--quiet',
        '--tls-verify=false',
        name,
      ])
    }
    if (!existsSync(store)) throw new Error(`${store} was not made`)
    await execa('tar', ['-C', scratch, '--xattrs', '--xattrs-include=*', '--numeric-owner', '-cf', tar, 'store'])
  } finally {
    await registry.stop()
    rmSync(scratch, { recursive: true })
  }
}
