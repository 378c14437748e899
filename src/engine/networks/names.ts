import { parseSubnet } from '../../model/ip.ts'
import type { NamesLaunch } from '../../model/launch.ts'
import type { NetworkConnection, NetworkDefinition } from '../../model/network.ts'
import { type Called, membershipText } from '../../network/names.ts'
import { nativeFile } from '../../syscall/ffi.ts'
import type { EnginePaths } from '../paths.ts'
import type { Look } from '../start/look.ts'
import { monitorsCgroup } from '../start/monitors-cgroup.ts'
import { hasNames } from './has-names.ts'

interface NamesOptions {
  readonly resolvers: readonly string[] | undefined
  readonly dryRun: boolean
  readonly look: Look
}

/** A container's place in the name service; undefined where none of its networks has names. */
export function namesLaunch(
  paths: EnginePaths,
  called: Called,
  networks: readonly { readonly connection: NetworkConnection; readonly network: NetworkDefinition }[],
  { resolvers, dryRun, look }: NamesOptions,
): NamesLaunch | undefined {
  const named = networks.filter(({ connection }) => hasNames(connection))
  if (named.length === 0) return undefined
  // From where there is no way out, names of elsewhere would be one.
  const isInside = networks.every(({ network }) => network.internal)
  const cgroup = dryRun ? undefined : look(monitorsCgroup)
  return {
    directory: paths.runRoot,
    program: nativeFile('names'),
    ...(cgroup === undefined ? {} : { cgroup }),
    text: membershipText(
      called,
      named.map(({ connection, network }) => ({ connection, prefixes: prefixesOf(network) })),
      isInside ? undefined : (resolvers ?? 'host'),
    ),
  }
}

function prefixesOf({ subnets }: NetworkDefinition): { readonly 4?: number; readonly 6?: number } {
  return Object.fromEntries(
    subnets.flatMap(({ subnet }) => {
      const parsed = parseSubnet(subnet)
      return parsed === undefined ? [] : [[parsed.first.family, parsed.prefix]]
    }),
  )
}
