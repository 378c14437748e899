import { join } from 'node:path'
import { type CniAttachment, cniResultFile, type CniCapabilities } from '../../../model/cni.ts'
import { TscrunError } from '../../../model/errors.ts'
import type { PublishedPort } from '../../../model/launch.ts'
import type { NetworkConnection, NetworkRate, NetworkRequest } from '../../../model/network.ts'
import { parseCniResult } from '../../../network/cni/call.ts'
import { readIfThere } from '../../../runtime/host.ts'
import type { EnginePaths } from '../../paths.ts'
import { cniDelete } from './chain.ts'
import { cniAttachment, findCniNetwork } from './find.ts'

/** What a container's own start and end will ask of CNI networks; nothing is asked yet. Throws as `cniAttachment`. */
export function attachmentsOf(
  requests: readonly NetworkRequest[],
  ports: readonly PublishedPort[],
): readonly CniAttachment[] {
  return requests.map((request, index) =>
    cniAttachment(findCniNetwork(request.name), {
      ifName: `eth${index}`,
      // Ports lead to the first network, as with networks of tscrun's own.
      capabilities: capabilitiesOf(request, index === 0 ? ports : []),
    }),
  )
}

function capabilitiesOf(
  { ip, ip6, mac, aliases = [], rate }: NetworkRequest,
  ports: readonly PublishedPort[],
): CniCapabilities {
  const ips = [ip, ip6].filter((address) => address !== undefined)
  return {
    ...(ips.length === 0 ? {} : { ips }),
    ...(mac === undefined ? {} : { mac }),
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(rate === undefined ? {} : { bandwidth: bandwidthOf(rate) }),
    ...(ports.length === 0 ? {} : { portMappings: ports.map(mappingOf) }),
  }
}

/** A burst, in bits, has to be named: what tscrun's own networks have. */
function bandwidthOf(rate: NetworkRate): NonNullable<CniCapabilities['bandwidth']> {
  const burst = (bits: number): number => Math.max(8 * (128 << 10), Math.ceil(bits / 100))
  return {
    ...(rate.in === undefined ? {} : { ingressRate: rate.in, ingressBurst: burst(rate.in) }),
    ...(rate.out === undefined ? {} : { egressRate: rate.out, egressBurst: burst(rate.out) }),
  }
}

function mappingOf({ protocol, hostIp, hostPort, containerPort }: PublishedPort): {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: PublishedPort['protocol']
  readonly hostIP?: string
} {
  return { hostPort, containerPort, protocol, ...(hostIp === undefined ? {} : { hostIP: hostIp }) }
}

/** What the plugins have said of a container that runs; nothing of one that does not. */
export function cniConnections(
  paths: EnginePaths,
  { id, cni = [] }: { readonly id: string; readonly cni?: readonly CniAttachment[] },
): NetworkConnection[] {
  return cni.flatMap(({ network, ifName }, index) => {
    const text = readIfThere(join(paths.containers, id, cniResultFile(index)))
    if (text === undefined || text === '') return []
    const { interfaces, ips } = parseCniResult(text)
    const mac = interfaces.find(({ name, sandbox }) => name === ifName && sandbox !== undefined)?.mac
    const addresses = ips.map(({ address }) => address.split('/')[0] ?? '')
    const [ip, ip6] = [false, true].map((wanted) => addresses.find((address) => address.includes(':') === wanted))
    return {
      network: `cni:${network}`,
      networkId: '',
      link: ifName,
      mac: mac ?? '',
      ...(ip === undefined ? {} : { ip }),
      ...(ip6 === undefined ? {} : { ip6 }),
      aliases: [],
    }
  })
}

/** Of a container whose monitor did not live to do it: its namespace is gone, what plugins keep elsewhere is not. */
export async function deleteLeftAttachments(
  paths: EnginePaths,
  { id, cni = [] }: { readonly id: string; readonly cni?: readonly CniAttachment[] },
): Promise<void> {
  for (const [index, attachment] of cni.entries()) {
    try {
      await cniDelete({ id, attachment, cache: join(paths.containers, id, cniResultFile(index)) })
    } catch (error) {
      // A plugin that has been uninstalled must not keep the container here for ever.
      if (!(error instanceof TscrunError)) throw error
    }
  }
}
