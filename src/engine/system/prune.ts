import { join } from 'node:path'
import type { ImageStore, StoredImage } from '../../images/store.ts'
import { imagesUsage } from '../../images/usage.ts'
import { TscrunError } from '../../model/errors.ts'
import { type ContainerView, viewContainers } from '../state/containers-view.ts'
import { mountedImages } from '../image-verbs/mounts.ts'
import type { EnginePaths } from '../paths.ts'
import { removeContainer } from '../state/remove.ts'
import { treeBytes } from '../tree/bytes.ts'
import { pruneVolumes } from '../volumes/verbs.ts'

/** All that are given must hold. */
export interface PruneFilter {
  /** Made before, milliseconds since 1970. */
  readonly untilMs?: number
  /** `key` or `key=value`: all of them. */
  readonly label?: readonly string[]
  /** None of them. */
  readonly withoutLabel?: readonly string[]
}

export interface PruneOptions {
  /** Also images with a name that no container has. */
  readonly all?: boolean
  /** Also anonymous volumes that no container has. */
  readonly volumes?: boolean
  readonly filter?: PruneFilter
}

export interface Pruned {
  /** Ids. */
  readonly containers: readonly string[]
  /** Names that are gone. */
  readonly untagged: readonly string[]
  /** Ids. */
  readonly images: readonly string[]
  readonly volumes: readonly string[]
  /** Bytes on the disk, of images those of their layers' files. */
  readonly reclaimedBytes: number
}

/** Removes containers that do not run, then images and volumes that nobody needs any more. */
export async function pruneAll(paths: EnginePaths, store: ImageStore, options: PruneOptions): Promise<Pruned> {
  const { all = false, volumes = false, filter = {} } = options
  const containers = await pruneContainers(paths, filter)
  const pruned = volumes ? pruneVolumes(paths, { filter }) : { removed: [], reclaimedBytes: 0 }
  const images = await pruneImages(paths, store, { all, filter })
  return {
    ...images,
    containers: containers.removed,
    volumes: pruned.removed,
    reclaimedBytes: containers.reclaimedBytes + pruned.reclaimedBytes + images.reclaimedBytes,
  }
}

/** Removes containers that do not run. */
export async function pruneContainers(
  paths: EnginePaths,
  filter: PruneFilter,
): Promise<{ readonly removed: readonly string[]; readonly reclaimedBytes: number }> {
  const removed: string[] = []
  let reclaimedBytes = 0
  for (const { record, status } of viewContainers(paths)) {
    if (status === 'running' || status === 'paused' || status === 'restarting') continue
    if (!matches(record.createdMs, record.labels, filter)) continue
    const bytes = treeBytes(join(paths.containers, record.id))
    if (!(await removedUnlessStarted(paths, record.id))) continue
    removed.push(record.id)
    reclaimedBytes += bytes
  }
  return { removed, reclaimedBytes }
}

/** False where it runs by now, or another command has removed it. */
async function removedUnlessStarted(paths: EnginePaths, id: string): Promise<boolean> {
  try {
    await removeContainer(paths, id, { force: false })
    return true
  } catch (error) {
    const expected = error instanceof TscrunError && ['CONTAINER_STATE', 'NO_SUCH_CONTAINER'].includes(error.code)
    if (!expected) throw error
    return false
  }
}

/** Removes images without a name that no container has; with `all` those with a name, too. */
export async function pruneImages(
  paths: EnginePaths,
  store: ImageStore,
  { all = false, filter = {} }: { readonly all?: boolean; readonly filter?: PruneFilter },
): Promise<Pick<Pruned, 'untagged' | 'images' | 'reclaimedBytes'>> {
  const bytes = (): number => imagesUsage(store.paths, store.list(), () => false).bytes
  const before = bytes()
  const unused = store.list().filter((image) => {
    const createdMs = Date.parse(image.created ?? '')
    return (
      (all || image.names.length === 0) &&
      matches(Number.isNaN(createdMs) ? 0 : createdMs, Object.fromEntries(image.config.labels), filter)
    )
  })
  const untagged: string[] = []
  const images: string[] = []
  for (const image of unused) {
    const removed = await removedUnlessUsed(paths, store, image)
    untagged.push(...(removed?.untagged ?? []))
    if (removed?.deleted !== undefined) images.push(removed.deleted)
  }
  // What killed commands have left is nobody's either, nor what went while another command used the store.
  await store.collect()
  return { untagged, images, reclaimedBytes: Math.max(0, before - bytes()) }
}

async function removedUnlessUsed(
  paths: EnginePaths,
  store: ImageStore,
  image: StoredImage,
): Promise<Awaited<ReturnType<ImageStore['remove']>> | undefined> {
  // Asked again for each: a container may have been made meanwhile.
  const isUsed = viewContainers(paths).some((view: ContainerView) => view.record.imageId === image.id)
  if (isUsed || mountedImages(paths).some(({ id }) => id === image.id)) return undefined
  try {
    return await store.remove(image.id, { force: true, inUse: () => false })
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'NO_SUCH_IMAGE') return undefined
    throw error
  }
}

function matches(createdMs: number, labels: Readonly<Record<string, string>>, filter: PruneFilter): boolean {
  const has = (text: string): boolean => {
    const equals = text.indexOf('=')
    const key = equals < 0 ? text : text.slice(0, equals)
    return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === text.slice(equals + 1))
  }
  return (
    (filter.untilMs === undefined || createdMs < filter.untilMs) &&
    (filter.label ?? []).every(has) &&
    !(filter.withoutLabel ?? []).some(has)
  )
}
