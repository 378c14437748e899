import { join } from 'node:path'
import type { ImageStore } from '../../images/store.ts'
import { imagesUsage } from '../../images/usage.ts'
import type { ContainerSummary } from '../api.ts'
import { summarize, viewContainers } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'
import { treeBytes } from '../tree/bytes.ts'
import { keptVolumes } from '../volumes/users.ts'
import { volumeBytes, volumeSummaries } from '../volumes/verbs.ts'

/** What a store's images, containers and volumes take on the disk. Bytes; times in milliseconds since 1970. */
export interface DiskUsage {
  /** Layers that several images have are counted once in `bytes`. */
  readonly images: Totals & { readonly list: readonly ImageDisk[] }
  readonly containers: Totals & { readonly list: readonly ContainerDisk[] }
  readonly volumes: Totals & { readonly list: readonly VolumeDisk[] }
}

export interface Totals {
  /** In use: by a container; of containers, those that run. */
  readonly active: number
  readonly bytes: number
  /** What the removal of all the others would give back. */
  readonly reclaimableBytes: number
}

export interface ImageDisk {
  readonly id: string
  readonly names: readonly string[]
  readonly createdMs?: number
  readonly bytes: number
  /** In layers of other images too. */
  readonly sharedBytes: number
  readonly containers: number
}

export interface ContainerDisk extends ContainerSummary {
  /** What it has written, with its log. */
  readonly bytes: number
  readonly volumes: number
}

export interface VolumeDisk {
  readonly name: string
  readonly containers: number
  readonly bytes: number
}

/** Reads the whole tree of each container and volume. */
export function diskUsage(paths: EnginePaths, store: ImageStore): DiskUsage {
  const views = viewContainers(paths)
  const usersOf = (id: string): number => views.filter(({ record }) => record.imageId === id).length
  const layers = imagesUsage(store.paths, store.list(), (id) => usersOf(id) > 0)
  const images = layers.images.map(({ image, bytes, uniqueBytes }): ImageDisk => {
    const createdMs = image.created === undefined ? Number.NaN : Date.parse(image.created)
    return {
      id: image.id,
      names: image.names,
      ...(Number.isNaN(createdMs) ? {} : { createdMs }),
      bytes,
      sharedBytes: bytes - uniqueBytes,
      containers: usersOf(image.id),
    }
  })
  const containers = views.map(
    (view): ContainerDisk => ({
      ...summarize(view),
      bytes: treeBytes(join(paths.containers, view.record.id)),
      volumes: keptVolumes(view.record.mounts).length,
    }),
  )
  const volumes = volumeSummaries(paths).map(
    (volume): VolumeDisk => ({
      name: volume.name,
      containers: volume.containers.length,
      bytes: volumeBytes(paths, volume.name),
    }),
  )
  const runs = ({ status }: ContainerDisk): boolean => status !== 'stopped' && status !== 'created'
  return {
    images: {
      list: images,
      active: images.filter((image) => image.containers > 0).length,
      bytes: layers.bytes,
      reclaimableBytes: layers.bytes - layers.usedBytes,
    },
    containers: totals(containers, runs),
    volumes: totals(volumes, (volume) => volume.containers > 0),
  }
}

function totals<T extends { readonly bytes: number }>(
  list: readonly T[],
  isActive: (item: T) => boolean,
): Totals & { readonly list: readonly T[] } {
  const sum = (items: readonly T[]): number => items.reduce((total, { bytes }) => total + bytes, 0)
  const active = list.filter(isActive)
  return { list, active: active.length, bytes: sum(list), reclaimableBytes: sum(list) - sum(active) }
}
