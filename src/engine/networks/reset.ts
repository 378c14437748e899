import { existsSync, readdirSync, readlinkSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../../model/errors.ts'
import { NO_RULES } from '../../network/firewall.ts'
import { linkIndexes } from '../../network/netlink/socket.ts'
import { removeTree } from '../../images/remove-tree.ts'
import type { EnginePaths } from '../paths.ts'
import { definitionsDirectory, listNetworks } from './definitions.ts'
import { deleteBridge, lockNetworks, readUp } from './host.ts'
import { applyRules } from './nft.ts'

/**
 * Removes all networks of a store that has no container any more: bridges, rules, definitions, addresses. Resolves to what
 * stays, one line each.
 */
export async function removeNetworks(paths: EnginePaths): Promise<string[]> {
  const stays = [...(await takeDown(paths)), ...attachmentsLeft(paths)]
  for (const directory of [definitionsDirectory(paths), join(paths.root, 'leases')]) removeTree(directory, paths.root)
  return stays
}

/** What is the host's. In another network namespace than the one they were made in these names are somebody else's. */
async function takeDown(paths: EnginePaths): Promise<string[]> {
  const up = readUp(paths)
  if (up === undefined) return []
  if (up.namespace !== readlinkSync('/proc/self/ns/net')) return [`bridges and rules in the namespace ${up.namespace}`]
  using _lock = await lockNetworks(paths)
  const bridges = listNetworks(paths).filter(({ driver }) => driver === 'bridge')
  const indexes = linkIndexes(bridges.map(({ link }) => link))
  bridges.forEach(({ id, link }, at) => {
    if (indexes[at] !== undefined && up.bridges[id]?.index === indexes[at]) deleteBridge(link)
  })
  await applyRules(NO_RULES)
  return ['net.ipv4.ip_forward and net.ipv6.conf.all.forwarding as they are (others may need them)']
}

/** Of namespaces that programs have: only their plugins can take back what they gave. */
function attachmentsLeft(paths: EnginePaths): string[] {
  const directory = join(paths.root, 'cni')
  if (!existsSync(directory)) return []
  for (const path of [...readdirSync(directory).map((name) => join(directory, name)), directory]) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY') throw error
    }
  }
  return existsSync(directory) ? [`${directory} (plugins keep these for a program: its \`cni().delete\`)`] : []
}
