import { readlinkSync } from 'node:fs'
import { type ErrorCode, TscrunError } from '../../model/errors.ts'
import type { NetworkDefinition } from '../../model/network.ts'
import type { EnginePaths } from '../paths.ts'
import { tellOnce } from '../tell-once.ts'
import { createNetwork } from './create.ts'
import { DEFAULT_NETWORK, readNetwork } from './definitions.ts'
import { bringUp } from './host.ts'
import { findNft } from './nft.ts'

/** Failures that are the host's, not the request's. */
const OF_THE_HOST: readonly ErrorCode[] = ['HOST_UNSUPPORTED', 'KERNEL_REFUSED', 'NETWORK_IN_USE']

/** The default network is made when it is first asked for. */
export async function defaultNetwork(paths: EnginePaths): Promise<NetworkDefinition> {
  return readNetwork(paths, DEFAULT_NETWORK) ?? (await createNetwork(paths, { name: DEFAULT_NETWORK, ipv6: true }))
}

/**
 * Brings up the default network for a container that nobody has asked a network for. False where this host can have none:
 * why is told, but not again before that changes or the machine has started anew.
 */
export async function bringUpDefault(paths: EnginePaths, tell: (line: string) => void): Promise<boolean> {
  try {
    const made = readNetwork(paths, DEFAULT_NETWORK)
    if (made === undefined) findNft()
    await bringUp(paths, [made ?? (await defaultNetwork(paths))], tell)
    return true
  } catch (error) {
    if (!(error instanceof TscrunError) || !OF_THE_HOST.includes(error.code)) throw error
    const hint = error.hint === undefined ? '' : ` (${error.hint})`
    const line = `the container has no network: ${error.message.replace(/^network: /, '')}${hint}`
    tellOnce(paths, { lack: 'no-network', line }, tell, readlinkSync('/proc/self/ns/net'))
    return false
  }
}
