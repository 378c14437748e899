import type { NetworkOption, RunOptions } from '../../model/run-options.ts'
import type { Listener } from '../api.ts'
import { bringUpDefault } from '../networks/default.ts'
import { hasNft } from '../networks/nft.ts'
import type { EnginePaths } from '../paths.ts'

/** The default network by its name. */
const BRIDGE: NetworkOption = { networks: [{ name: 'bridge' }] }

/**
 * With the default network where none is asked for: the bridge, or none where this host can have no bridge, which is said
 * once. Who publishes a port has asked for a network.
 */
export async function withNetwork<T extends RunOptions & Listener>(paths: EnginePaths, run: T): Promise<T> {
  if (run.network === 'bridge' || (run.network === undefined && (run.ports ?? []).length > 0)) {
    return { ...run, network: BRIDGE }
  }
  if (run.network !== undefined) return run
  const isUp = await bringUpDefault(paths, run.onWarning ?? (() => undefined))
  return { ...run, network: isUp ? BRIDGE : 'none' }
}

/** The same for a plan that is only shown. */
export function withLikelyNetwork<T extends RunOptions>(run: T): T {
  if (run.network !== undefined && run.network !== 'bridge') return run
  const isLikely = run.network === 'bridge' || (run.ports ?? []).length > 0 || hasNft()
  return { ...run, network: isLikely ? BRIDGE : 'none' }
}
