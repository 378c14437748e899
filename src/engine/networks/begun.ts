import { TscrunError } from '../../model/errors.ts'
import type { NetworkConnection } from '../../model/network.ts'
import { deleteLink } from '../../network/netlink/links.ts'
import { withRtnetlink } from '../../network/netlink/socket.ts'
import type { EnginePaths } from '../paths.ts'
import { claimLink, linkOwner } from '../state/owner-link.ts'
import { hostEnd } from './launch.ts'
import { leaseLinks } from './lease-links.ts'

const ENODEV = 19

/**
 * A container is started in the place of one that was begun under its id and is no more: that one has given its addresses
 * back, and its links go when the kernel finds the time. Throws ADDRESS_IN_USE where somebody has got one of them.
 */
export function takeOver(paths: EnginePaths, id: string, connections: readonly NetworkConnection[]): void {
  withRtnetlink((rtnetlink) => {
    for (const { link } of connections) {
      const name = hostEnd(id, Number(link.slice('eth'.length)))
      rtnetlink.ask(deleteLink(name), `put away ${name}`, ENODEV)
    }
  })
  for (const lease of leaseLinks(paths, connections)) {
    if (claimLink(lease, id) || linkOwner(lease, [id]) === id) continue
    throw new TscrunError(
      'ADDRESS_IN_USE',
      `network: its address ${lease.slice(lease.lastIndexOf('/') + 1)} is taken`,
      {
        hint: 'start it again',
      },
    )
  }
}
