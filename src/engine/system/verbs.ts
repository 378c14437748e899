import type { ImageStore } from '../../images/store.ts'
import { TscrunError } from '../../model/errors.ts'
import { hostFacts } from '../../runtime/host.ts'
import type { EnginePaths } from '../paths.ts'
import type { CheckOptions } from './check/check.ts'
import type { CheckResult } from './check/finding.ts'
import { sweep } from '../state/sweep.ts'
import { type Pruned, pruneAll, pruneContainers, type PruneFilter, pruneImages, type PruneOptions } from './prune.ts'
import { reset, type Reset, type ResetOptions } from './reset.ts'
import { type DiskUsage, diskUsage } from './usage.ts'

/** The verbs on a store as a whole. */
export interface SystemVerbs {
  /** What images, containers and volumes take on the disk. */
  df(): Promise<DiskUsage>
  /** Removes containers that do not run, images without a name, and with `volumes` anonymous volumes that nobody has. */
  prune(options?: PruneOptions): Promise<Pruned>
  /** Removes containers that do not run. */
  pruneContainers(filter?: PruneFilter): Promise<Pick<Pruned, 'containers' | 'reclaimedBytes'>>
  /** Removes images without a name that no container has; with `all` those with a name, too. */
  pruneImages(options?: {
    readonly all?: boolean
    readonly filter?: PruneFilter
  }): Promise<Pick<Pruned, 'untagged' | 'images' | 'reclaimedBytes'>>
  /** Looks the whole store over, and with `repair` puts right what it can. */
  check(options?: CheckOptions): Promise<readonly CheckResult[]>
  /** Removes everything: containers, images, volumes, and what keeps account of them. Rejects with CONTAINER_STATE. */
  reset(options: ResetOptions): Promise<Reset>
}

export function systemVerbs(paths: EnginePaths, store: ImageStore): SystemVerbs {
  return {
    df: async () => {
      await begin(paths)
      return diskUsage(paths, store)
    },
    prune: async (options = {}) => {
      await begin(paths)
      return pruneAll(paths, store, options)
    },
    pruneContainers: async (filter = {}) => {
      await begin(paths)
      const { removed, reclaimedBytes } = await pruneContainers(paths, filter)
      return { containers: removed, reclaimedBytes }
    },
    pruneImages: async (options = {}) => {
      await begin(paths)
      return pruneImages(paths, store, options)
    },
    check: async (options) => {
      requireRoot(paths)
      return (await import('./check/check.ts')).checkStore(paths, store, options)
    },
    reset: async (options) => {
      await begin(paths)
      return reset(paths, options)
    },
  }
}

async function begin(paths: EnginePaths): Promise<void> {
  requireRoot(paths)
  await sweep(paths, 'all')
}

function requireRoot(paths: EnginePaths): void {
  if (hostFacts().euid !== 0) {
    throw new TscrunError('PERMISSION_DENIED', `read the store ${paths.root}: needs root`, {
      subject: paths.root,
      hint: 'use sudo',
    })
  }
}
