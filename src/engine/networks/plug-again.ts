import { linkMaster, plugIn } from '../../network/netlink/links.ts'
import { withRtnetlink } from '../../network/netlink/socket.ts'
import { liveIds, readRecord } from '../state/containers.ts'
import type { EnginePaths } from '../paths.ts'
import type { Up } from './host.ts'
import { hostEnd } from './launch.ts'

const ENODEV = 19

/**
 * Plugs the links of containers that run into the bridges of their networks: whoever removes a bridge leaves them, and the
 * one that is made anew is empty. Throws SyscallError of rtnetlink(7).
 */
export function plugAgain(paths: EnginePaths, bridges: Up['bridges']): void {
  withRtnetlink((rtnetlink) => {
    for (const id of liveIds(paths)) {
      for (const { networkId, link } of readRecord(paths, id)?.connections ?? []) {
        const bridge = bridges[networkId]
        if (bridge === undefined) continue
        const name = hostEnd(id, Number(link.slice('eth'.length)))
        // A container may end, or have no link yet.
        const isThere = rtnetlink.ask(linkMaster(name, bridge.index), `plug in ${name}`, ENODEV)
        if (isThere) rtnetlink.ask(plugIn(name), `bring up ${name}`, ENODEV)
      }
    }
  })
}
