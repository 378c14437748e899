import type { LaunchSpec } from '../../model/launch.ts'
import type { RunOptions } from '../../model/run-options.ts'
import { type IdRange, readPool, releaseRange, takeRange } from '../ids/id-range.ts'
import { releaseConnections } from '../networks/lease-links.ts'
import { areThere, bringUpFor, takeConnections } from '../networks/connect.ts'
import type { Connected } from '../networks/launch.ts'
import { checkPorts } from '../networks/publications.ts'
import type { Called } from '../../network/names.ts'
import type { EnginePaths } from '../paths.ts'
import { justLook, type Look } from './look.ts'
import type { AheadStarts } from './start.ts'
import type { PreparedContainer } from './prepare.ts'
import type { ContainerRecord } from '../state/record.ts'
import type { TakenMounts } from '../volumes/take.ts'

/** What is a container's from its making to its removal. */
export interface Claims {
  readonly idRange?: IdRange
  readonly connected?: Connected
  /** Absent where it has no volumes that need anything. */
  readonly taken?: TakenMounts
}

interface ClaimOptions {
  readonly run: RunOptions
  /** Ends the filling of a volume. */
  readonly signal?: AbortSignal
  /** What is its own already. */
  readonly ahead?: Pick<AheadStarts, 'connections'>
}

/** Takes it all, or throws and has taken nothing. */
export async function takeClaims(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: ClaimOptions,
): Promise<Claims> {
  const { id, targets } = prepared
  const idRange = targets === undefined ? ownRange(paths, prepared) : await sharedRange(paths, prepared)
  let connected: Connected | undefined
  try {
    connected = await takeNetworks(paths, prepared, options)
    const taken = await takeVolumes(paths, prepared, options.signal)
    return {
      ...(idRange === undefined ? {} : { idRange }),
      ...(connected === undefined ? {} : { connected }),
      ...(taken === undefined ? {} : { taken }),
    }
  } catch (error) {
    if (connected !== undefined) releaseConnections(paths, id, connected.connections)
    if (idRange !== undefined) releaseRange(paths.ranges, id, idRange)
    throw error
  }
}

/** Of a container's record: what its deletion gives back. */
export function keptClaims({
  idRange,
  connected,
  taken,
}: Claims): Pick<ContainerRecord, 'idRange' | 'connections' | 'mounts'> {
  return {
    ...(idRange === undefined ? {} : { idRange }),
    ...(connected === undefined ? {} : { connections: connected.connections }),
    ...(taken === undefined ? {} : { mounts: taken.kept }),
  }
}

function ownRange(paths: EnginePaths, { ownUser, id }: PreparedContainer): IdRange | undefined {
  return ownUser ? takeRange(paths.ranges, id, readPool(paths.idPool)) : undefined
}

/** That of the container whose user namespace it joins. */
async function sharedRange(paths: EnginePaths, { targets, id }: PreparedContainer): Promise<IdRange | undefined> {
  if (targets?.range === undefined) return undefined
  const { target, range } = targets.range
  const { shareRange } = await import('../ids/shared-range.ts')
  await shareRange(paths.ranges, range, target, id)
  return range
}

async function takeNetworks(
  paths: EnginePaths,
  { id, afresh }: PreparedContainer,
  { run: { network, ports = [], dns }, ahead }: ClaimOptions,
): Promise<Connected | undefined> {
  if (typeof network !== 'object') return undefined
  if ('cni' in network) {
    const { attachmentsOf } = await import('../networks/cni/attach.ts')
    return { connections: [], ports, cni: attachmentsOf(network.cni, ports) }
  }
  if (!('networks' in network)) return undefined
  const resolvers = dns === undefined ? {} : { resolvers: dns }
  const connections = ahead?.connections ?? []
  // What was foreseen has been looked at; of anything else the network may be another one of that name by now.
  if (connections.length > 0 && (afresh !== undefined || areThere(paths, connections)))
    return { connections, ports, ...resolvers }
  return takeConnections(paths, id, { ...network, ports, ...resolvers })
}

/** Makes and fills the volumes of a container. */
async function takeVolumes(
  paths: EnginePaths,
  { id, mounts, source: { layers }, user }: PreparedContainer,
  signal: AbortSignal | undefined,
): Promise<TakenMounts | undefined> {
  if (mounts.every((mount) => mount.source !== undefined && mount.chown !== true)) return undefined
  const { takeMounts } = await import('../volumes/take.ts')
  return takeMounts(paths, { id, mounts, layers, user, ...(signal === undefined ? {} : { signal }) })
}

interface ConnectedOptions {
  readonly tell?: ((line: string) => void) | undefined
  /** Notes what it depends on. */
  readonly look?: Look
}

/** Of a LaunchSpec: the networks of the host are there, and the container's way to them. */
export async function connected(
  paths: EnginePaths,
  called: Called,
  has: Connected | undefined,
  { tell = () => undefined, look = justLook }: ConnectedOptions = {},
): Promise<Pick<LaunchSpec, 'network'>> {
  if (has === undefined) return {}
  if (has.cni !== undefined) return { network: { links: [], cni: has.cni } }
  if (has.ports.length > 0) {
    // One that was killed may still have such a port as far as the firewall knows.
    const { sweep } = await import('../state/sweep.ts')
    await sweep(paths, 'live')
    checkPorts(paths, called.id, has.ports)
  }
  return { network: await bringUpFor(paths, called, has, { tell, look }) }
}
