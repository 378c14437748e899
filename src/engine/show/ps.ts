import { join } from 'node:path'
import type { ImageStore } from '../../images/store.ts'
import { TscrunError } from '../../model/errors.ts'
import type { ContainerSummary, PsOptions } from '../api.ts'
import { type ContainerView, findContainer, summarize, viewContainers } from '../state/containers-view.ts'
import { matchesFilter } from '../state/filter.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { mendNames } from '../state/rename.ts'
import { treeBytes } from '../tree/bytes.ts'

/** The containers that are asked for, newest first. Throws NO_SUCH_CONTAINER for one that `before` or `since` names. */
export function listContainers(
  paths: EnginePaths,
  store: ImageStore,
  { all, filter = {}, last, size = false }: PsOptions,
  read: ReadonlyMap<string, ContainerRecord> = new Map(),
): ContainerSummary[] {
  const views = viewContainers(paths, read)
  mendNames(
    paths,
    views.map(({ record }) => record),
  )
  const made = (name: string): number => findContainer(paths, name).record.createdMs
  const before = filter.before?.map(made)
  const since = filter.since?.map(made)
  const ancestors = filter.ancestor?.flatMap((image) => idsOf(store, image))
  const rests = ({ status }: ContainerView): boolean => status === 'stopped' || status === 'created'
  const chosen = views
    .filter((view) => all || last !== undefined || !rests(view))
    .filter((view) => matchesFilter(summarize(view), filter, ancestors))
    .filter(({ record }) => before === undefined || before.some((ms) => record.createdMs < ms))
    .filter(({ record }) => since === undefined || since.some((ms) => record.createdMs > ms))
    .slice(0, last)
  return chosen.map((view) =>
    size ? { ...summarize(view), size: containerSize(paths, store, view.record) } : summarize(view),
  )
}

/** Of an image by any of its names; what is no name of one may be a root directory. */
function idsOf(store: ImageStore, image: string): string[] {
  try {
    return [store.find(image)?.id ?? []].flat()
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'INVALID_REFERENCE') return []
    throw error
  }
}

/** Bytes that a container has written, and all that it has: its image's too. */
export function containerSize(
  paths: EnginePaths,
  store: ImageStore,
  { id, imageId, launch }: Pick<ContainerRecord, 'id' | 'imageId' | 'launch'>,
): NonNullable<ContainerSummary['size']> {
  const kept = launch?.rootfs.kind === 'overlay' && launch.rootfs.upper === 'directory'
  const writable = kept ? treeBytes(join(paths.containers, id, 'upper')) : 0
  const image = imageId === undefined ? undefined : store.find(imageId)
  return { writable, root: writable + (image?.size ?? 0) }
}
