import {
  accessSync,
  constants,
  mkdirSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { parseIp, parseSubnet } from '../../model/ip.ts'
import type { NetworkDefinition } from '../../model/network.ts'
import { addPorts, firewallRules, NO_RULES, removePorts } from '../../network/firewall.ts'
import { deleteLink, linkMtu, linkUp, newAddress, newBridge, parseMac } from '../../network/netlink/links.ts'
import { linkIndexes, type Rtnetlink, withRtnetlink } from '../../network/netlink/socket.ts'
import { SyscallError } from '../../syscall/errno.ts'
import type { EnginePaths } from '../paths.ts'
import { readIfThere } from '../../images/files.ts'
import { type Lock, waitForLock } from '../../images/lock.ts'
import { justLook, type Look } from '../start/look.ts'
import { makeDirectory } from '../state/make-directory.ts'
import { definitionsDirectory, listNetworks } from './definitions.ts'
import { applyRules, findNft } from './nft.ts'
import { publications, publicationsBut } from './publications.ts'
import { defaultRouteDevice } from './subnets.ts'

/**
 * What of the networks is the host's: bridges, forwarding, one table of rules. It lives as long as the machine runs (or
 * the network namespace tscrun is in), so each start looks whether it is there.
 */

const EEXIST = 17
export const DEFAULT_MTU = 1500

/** `networks.json` of the run directory: what has been brought up, and where. */
export interface Up {
  /** The network namespace, as `/proc/self/ns/net` names it. */
  readonly namespace: string
  /** By the network's id. */
  readonly bridges: Readonly<Record<string, { readonly index: number; readonly mtu: number }>>
}

export function upFile(paths: EnginePaths): string {
  return join(paths.runRoot, 'networks.json')
}

/** Brings up what containers of these networks need, if it is not. What is said once is given to `tell`. */
export async function bringUp(
  paths: EnginePaths,
  networks: readonly NetworkDefinition[],
  tell: (line: string) => void,
  look = justLook,
): Promise<Up> {
  const known = look === justLook ? glanced(paths) : undefined
  if (known !== undefined && networks.every(({ id }) => known.ids.has(id))) return known.up
  const up = readUp(paths, look)
  if (up === undefined || !isUp(up, networks, look)) return reload(paths, tell)
  glance = { runRoot: paths.runRoot, up, ids: new Set(networks.map(({ id }) => id)), atMs: performance.now() }
  return up
}

/** A start looks twice: whether there is a default network, and for what it needs of it. What is noted is asked each time. */
const GLANCE_MS = 5
let glance:
  | { readonly runRoot: string; readonly up: Up; readonly ids: ReadonlySet<string>; readonly atMs: number }
  | undefined

function glanced({ runRoot }: EnginePaths): typeof glance {
  return glance?.runRoot === runRoot && performance.now() - glance.atMs < GLANCE_MS ? glance : undefined
}

function isUp(up: Up, networks: readonly NetworkDefinition[], look: Look): boolean {
  if (up.namespace !== look(() => readlinkSync('/proc/self/ns/net'))) return false
  const bridges = networks.filter(({ driver }) => driver === 'bridge')
  const links = bridges.map(({ link }) => link)
  const indexes = look(() => linkIndexes(links).join(' ')).split(' ')
  return bridges.every(({ id }, at) => String(up.bridges[id]?.index ?? 'down') === indexes[at])
}

/** Undefined where nothing has been brought up. */
export function readUp(paths: EnginePaths, look = justLook): Up | undefined {
  const path = upFile(paths)
  const text = look(() => readIfThere(path)?.toString())
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Up)
  } catch (error) {
    // Not whole after a crash of the machine, it is made anew as if it were not there.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Makes bridges, forwarding and rules of all networks, and the published ports of all containers, as they must be. */
export async function reload(paths: EnginePaths, tell: (line: string) => void): Promise<Up> {
  glance = undefined
  using _lock = await lockNetworks(paths)
  const networks = listNetworks(paths).filter(({ driver }) => driver === 'bridge')
  const forwards = networks.some(({ internal }) => !internal)
  // What would fail behind a change to the host fails before it.
  findNft()
  if (forwards) checkForwarding()
  const before = readUp(paths)
  await makeRules(paths, networks)
  const made: string[] = []
  try {
    const bridges = withRtnetlink((rtnetlink) =>
      Object.fromEntries(networks.map((network) => [network.id, makeBridge(rtnetlink, network, made)])),
    )
    if (before !== undefined) (await import('./plug-again.ts')).plugAgain(paths, bridges)
    if (forwards) forward(networks, tell)
    const up: Up = { namespace: readlinkSync('/proc/self/ns/net'), bridges }
    mkdirSync(paths.runRoot, { recursive: true, mode: 0o700 })
    writeFileSync(`${upFile(paths)}.new`, JSON.stringify(up), { mode: 0o600 })
    renameSync(`${upFile(paths)}.new`, upFile(paths))
    return up
  } catch (error) {
    for (const link of made) deleteBridge(link)
    if (before === undefined) await applyRules(NO_RULES)
    throw error
  }
}

/** All rules. Containers come and go meanwhile, and nobody keeps them from it. */
async function makeRules(paths: EnginePaths, networks: readonly NetworkDefinition[]): Promise<void> {
  let made = publications(paths)
  await applyRules(firewallRules(networks, made))
  for (;;) {
    const now = publications(paths)
    const [gone, come] = [publicationsBut(made, now), publicationsBut(now, made)]
    if (gone.length + come.length === 0) return
    await applyRules(removePorts(gone) + addPorts(come))
    made = now
  }
}

/** Held by who makes a network or its rules. */
export function lockNetworks(paths: EnginePaths): Promise<Lock> {
  makeDirectory(definitionsDirectory(paths))
  return waitForLock(join(definitionsDirectory(paths), 'lock'), 'exclusive')
}

/** Whatever of it is there already stays; what is new is noted in `made`. */
function makeBridge(rtnetlink: Rtnetlink, network: NetworkDefinition, made: string[]): Up['bridges'][string] {
  const { link, id, subnets } = network
  const mtu = mtuOf(rtnetlink, network)
  try {
    if (rtnetlink.ask(newBridge(link, parseMac(macOf(id, 0)), mtu), `make bridge ${link}`, EEXIST)) made.push(link)
    const { index = 0, mtu: itsMtu = mtu } = rtnetlink.link(link) ?? {}
    if (itsMtu !== mtu) rtnetlink.ask(linkMtu(index, mtu), `give ${link} an MTU of ${mtu}`)
    // Containers must not tell the host where its packets go (CVE-2020-13401).
    setSetting(`ipv6/conf/${link}/accept_ra`, '0')
    if (!subnets.some(({ subnet }) => subnet.includes(':'))) setSetting(`ipv6/conf/${link}/disable_ipv6`, '1')
    for (const { subnet, gateway } of subnets) {
      const address = parseIp(gateway ?? '')
      const prefix = parseSubnet(subnet)?.prefix
      if (address === undefined || prefix === undefined) continue
      rtnetlink.ask(newAddress(index, address, prefix), `give ${link} ${gateway}`, EEXIST)
    }
    rtnetlink.ask(linkUp(index), `bring up ${link}`)
    return { index, mtu }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error
    throw new TscrunError('KERNEL_REFUSED', `network ${network.name}: ${error.message}`, {
      errno: error.code,
      syscall: 'rtnetlink',
      subject: network.name,
      hint:
        error.code === 'EPERM' ? 'run it as root' : 'does the kernel have bridges? --network none and host need none',
      cause: error,
    })
  }
}

export function deleteBridge(link: string): void {
  withRtnetlink((rtnetlink) => {
    if (rtnetlink.link(link) !== undefined) rtnetlink.ask(deleteLink(link), `remove bridge ${link}`)
  })
}

/** That of the way out, so that nothing has to be cut up there. */
function mtuOf(rtnetlink: Rtnetlink, { mtu }: Pick<NetworkDefinition, 'mtu'>): number {
  if (mtu !== undefined) return mtu
  const device = defaultRouteDevice()
  return (device === undefined ? undefined : rtnetlink.link(device)?.mtu) ?? DEFAULT_MTU
}

/** A local address (the second bit of the first byte) out of an id and a number. */
export function macOf(id: string, number: number): string {
  return ['0a', ...(id.slice(24, 32).match(/../g) ?? []), number.toString(16).padStart(2, '0')].join(':')
}

const SETTINGS = '/proc/sys/net'

function setting(name: string): string | undefined {
  try {
    return readFileSync(`${SETTINGS}/${name}`, 'latin1').trim()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whether it was another one. A host without IPv6 has no such settings. */
function setSetting(name: string, value: string): boolean {
  const before = setting(name)
  if (before === undefined || before === value) return false
  try {
    writeFileSync(`${SETTINGS}/${name}`, value)
    return true
  } catch (error) {
    throw refused(name, value, error)
  }
}

function refused(name: string, value: string, cause: unknown): TscrunError {
  return new TscrunError('KERNEL_REFUSED', `write ${SETTINGS}/${name}: ${errnoOf(cause) ?? String(cause)}`, {
    subject: name,
    hint: `set net.${name.replaceAll('/', '.')} to ${value} yourself (sysctl(8)), or use --network none or host`,
    cause,
  })
}

const FORWARDING = 'ipv4/ip_forward'

/** A container engine around us may have made the settings read-only. */
function checkForwarding(): void {
  if (setting(FORWARDING) !== '0') return
  try {
    accessSync(`${SETTINGS}/${FORWARDING}`, constants.W_OK)
  } catch (error) {
    throw refused(FORWARDING, '1', error)
  }
}

/** Packets of containers have to be passed on. Told, since it concerns the whole host. */
function forward(networks: readonly NetworkDefinition[], tell: (line: string) => void): void {
  if (setSetting(FORWARDING, '1')) tell('net.ipv4.ip_forward is on now: containers have a way out')
  if (!networks.some(({ internal, subnets }) => !internal && subnets.some(({ subnet }) => subnet.includes(':')))) return
  if (setting('ipv6/conf/all/forwarding') !== '0') return
  // A host that forwards no longer listens to routers, unless it is told to: it would lose its own way out.
  for (const link of readdirSync(`${SETTINGS}/ipv6/conf`)) {
    if (link !== 'all' && setting(`ipv6/conf/${link}/accept_ra`) === '1') setSetting(`ipv6/conf/${link}/accept_ra`, '2')
  }
  if (setSetting('ipv6/conf/all/forwarding', '1')) tell('net.ipv6.conf.all.forwarding is on now')
}
