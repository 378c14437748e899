import type { NetworkOption, RunOptions } from '../../model/run-options.ts'
import type { Listener } from '../api.ts'
import { bringUpDefault } from '../networks/default.ts'
import { publishAll } from '../networks/exposed.ts'
import { hasNft } from '../networks/nft.ts'
import type { EnginePaths } from '../paths.ts'

/** The default network by its name. */
const BRIDGE: NetworkOption = { networks: [{ name: 'bridge' }] }

/** A choice of `network` and `ports` that leaves nothing open. */
type Decided = Pick<RunOptions, 'network' | 'ports'>

/** What is asked for, with the ports of `--publish-all` where it has a network of its own. */
function asked(run: RunOptions, exposed: readonly string[]): Decided {
  const ownNetwork = run.network === undefined || run.network === 'bridge' || isNetworks(run.network)
  if (run.publishAll !== true || !ownNetwork) return run
  const ports = publishAll(exposed, run)
  return { ...(run.network === undefined ? {} : { network: run.network }), ...(ports.length === 0 ? {} : { ports }) }
}

function isNetworks(network: NetworkOption): boolean {
  return typeof network === 'object' && ('networks' in network || 'cni' in network)
}

function isBridge({ network, ports = [] }: Decided): boolean {
  return network === 'bridge' || (network === undefined && ports.length > 0)
}

/**
 * With the default network where none is asked for: the bridge, or none where this host can have no bridge, which is said
 * once. Who publishes a port has asked for a network.
 *
 * @param exposed what the image says that it serves
 */
export async function withNetwork<T extends RunOptions & Listener>(
  paths: EnginePaths,
  run: T,
  exposed: readonly string[],
): Promise<T> {
  const wanted = asked(run, exposed)
  if (isBridge(wanted)) return { ...run, ...wanted, network: BRIDGE }
  if (wanted.network !== undefined) return wanted === run ? run : { ...run, ...wanted }
  const isUp = await bringUpDefault(paths, run.onWarning ?? (() => undefined))
  return { ...run, ...wanted, network: isUp ? BRIDGE : 'none' }
}

/** The same for a plan that is only shown. */
export function withLikelyNetwork<T extends RunOptions>(run: T, exposed: readonly string[]): T {
  const wanted = asked(run, exposed)
  if (wanted.network !== undefined && wanted.network !== 'bridge') return { ...run, ...wanted }
  return { ...run, ...wanted, network: isBridge(wanted) || hasNft() ? BRIDGE : 'none' }
}
