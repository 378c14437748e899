import { posix } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import type { RunOptions, VolumeMount } from '../../model/run-options.ts'
import type { EnginePaths } from '../paths.ts'

/** An image that asks for more is none of an honest maker. */
const MOST_OF_IMAGE = 256
/** A volume there would take the place of what the kernel shows, and of what hides parts of it. */
const KERNELS = /^\/(?:proc|sys|dev)(?:\/|$)/

/**
 * All that is to be mounted of host and store: what the user names, what other containers have, and an anonymous volume for
 * each path the image declares; the first of these at a path counts.
 */
export async function requestedMounts(
  paths: EnginePaths,
  options: Pick<RunOptions, 'volumes' | 'volumesFrom' | 'tmpfs'>,
  imageVolumes: readonly string[],
): Promise<VolumeMount[]> {
  const { volumes = [], volumesFrom = [], tmpfs = [] } = options
  if (volumesFrom.length === 0 && imageVolumes.length === 0) return [...volumes]
  const taken = new Set([...volumes, ...tmpfs].map(({ target }) => target))
  const others = [
    ...(volumesFrom.length === 0 ? [] : (await import('./volumes-from.ts')).mountsFrom(paths, volumesFrom)),
    ...declaredBy(imageVolumes).map((target): VolumeMount => ({ target })),
  ]
  const free = others.filter(({ target }) => !taken.has(target) && taken.add(target))
  return [...volumes, ...free]
}

/** Their paths are an image's word: hostile. */
function declaredBy(volumes: readonly string[]): string[] {
  if (volumes.length > MOST_OF_IMAGE) {
    throw new TscrunError(
      'LIMIT_EXCEEDED',
      `image: it declares ${volumes.length} volumes, at most ${MOST_OF_IMAGE} are taken`,
    )
  }
  return volumes.map((text) => {
    const path = posix.resolve('/', text)
    if (path !== '/' && !KERNELS.test(path) && !path.includes('\0')) return path
    throw new TscrunError('INVALID_IMAGE', `image: it declares a volume at ${JSON.stringify(text)}`, { subject: text })
  })
}
