import type { ImageStore, StoredImage } from '../../images/store.ts'
import { noSuchImage } from '../../images/store.ts'
import { type ImageVerdict, type VerifyOptions, verifyImages } from '../../images/verify/image.ts'
import { TscrunError } from '../../model/errors.ts'
import { hostFacts } from '../../runtime/host.ts'
import type { EnginePaths } from '../paths.ts'
import { mountedImages, mountImage, unmountImage } from './mounts.ts'

export interface NamedMount {
  readonly id: string
  /** Complete references. */
  readonly names: readonly string[]
  /** Absolute directory. */
  readonly path: string
}

/** The verbs on the bytes of stored images. */
export interface StoredImageVerbs {
  /** Looks over the images that are named, or all; an answer for each, as it is known. */
  verify(images: readonly string[], options?: VerifyOptions): AsyncIterable<ImageVerdict>
  /** Mounts the tree of an image, read-only, where the host can look into it. */
  mount(image: string): Promise<NamedMount>
  mounts(): Promise<readonly NamedMount[]>
  /** Takes mounted images off, all where none is named; resolves to their ids. Rejects with IMAGE_IN_USE. */
  unmount(image: string, options: { readonly force: boolean }): Promise<string>
}

export function storedImageVerbs(paths: EnginePaths, store: ImageStore): StoredImageVerbs {
  const find = (name: string): StoredImage => {
    const image = store.find(name)
    if (image === undefined) throw noSuchImage(name)
    return image
  }
  const named = ({ id, path }: { readonly id: string; readonly path: string }): NamedMount => ({
    id,
    names: store.find(id)?.names ?? [],
    path,
  })
  return {
    async *verify(images, options = {}) {
      requireRoot(`read the store ${paths.root}`)
      if (!store.exists()) {
        for (const image of images) throw noSuchImage(image)
        return
      }
      using _hold = await store.hold(options.signal)
      yield* verifyImages(store.paths, store.entries(images), options)
    },
    async mount(name) {
      requireRoot(`mount image ${name}`)
      if (!store.exists()) throw noSuchImage(name)
      using _hold = await store.hold()
      return named(mountImage(paths, store, find(name)))
    },
    mounts: async () => mountedImages(paths).map(named),
    async unmount(name, options) {
      requireRoot(`unmount image ${name}`)
      // Of an image that is damaged by now, or has lost its name, the id still says which.
      const id = store.find(name)?.id ?? mountedImages(paths).find((mounted) => isIdOf(name, mounted.id))?.id
      if (id === undefined) throw noSuchImage(name)
      if (unmountImage(paths, id, options)) return id
      throw new TscrunError('USAGE', `unmount image ${name}: it is not mounted`, {
        subject: name,
        hint: '`tscrun image mount` lists those that are',
      })
    },
  }
}

function isIdOf(text: string, id: string): boolean {
  return id === text || (/^[0-9a-f]{4,64}$/.test(text) && id.startsWith(`sha256:${text}`))
}

function requireRoot(doing: string): void {
  if (hostFacts().euid === 0) return
  throw new TscrunError('PERMISSION_DENIED', `${doing}: needs root`, { hint: 'use sudo' })
}
