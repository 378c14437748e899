import type { ContainerLink } from '../model/launch.ts'
import { CLONE, O, RESOLVE } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'
import { deleteLink } from '../network/netlink/links.ts'
import { linkSteps, netlinkStep, routeSteps } from './network.ts'

/** A container that runs, found by the state.json of its monitor. */
export interface Running {
  readonly name: string
  /** Absolute path of its state.json. */
  readonly state: string
}

/** The slot that steps of a change leave open: the container's network namespace. */
export const CHANGED: FdSlot = 'fd:netns'

/** One more link for a container that runs. Of the host, before its namespace is entered. */
export function plugSteps(running: Running, link: ContainerLink): Step[] {
  const { make, setUp } = linkSteps([link])
  return [
    openNamespace(running),
    { op: 'open_netlink', fd: 'fd:netlink' },
    ...make,
    { op: 'close', fd: 'fd:netlink' },
    ...enter,
    ...setUp.map((step) => byName(step, link.name)),
  ]
}

/** Takes a link from a container that runs; `next`, if any, is the way out from then on. */
export function unplugSteps(running: Running, name: string, next: ContainerLink | undefined): Step[] {
  const because = 'the container may have removed it itself'
  return [
    openNamespace(running),
    ...enter,
    { ...netlinkStep('fd:own-netlink', deleteLink(name), '', `remove ${name}`), tolerate: ['ENODEV'], because },
    ...(next === undefined ? [] : routeSteps(next).map((step) => byName(step, next.name))),
  ]
}

/** Behind struct nlmsghdr and the first word of ifinfomsg, ifaddrmsg and tcmsg. */
const NUMBER_AT = 20
const RTM_NEWROUTE = 24

/** In a container that has had links before, the number of one is known to the kernel alone. */
function byName(step: Step, name: string): Step {
  if (step.op !== 'netlink' || step.link !== '') return step
  const bytes = step.message as Uint8Array
  // Of a route it is the last attribute (RTA_OIF).
  const linkAt = bytes[4] === RTM_NEWROUTE ? bytes.length - 4 : NUMBER_AT
  return { ...step, link: name, linkAt }
}

function openNamespace({ name, state }: Running): Step {
  const about = `find the network of ${name}`
  return { op: 'open_container', fd: CHANGED, state, file: 'ns/net', about }
}

const enter: readonly Step[] = [
  { op: 'setns', namespace: CHANGED, type: CLONE.NEWNET, about: "enter the container's network namespace" },
  { op: 'open_netlink', fd: 'fd:own-netlink' },
]

export const FILE: FdSlot = 'fd:file'

/**
 * Opens one of the files that tscrun has mounted in a container, for reading and writing. Whatever the container has made
 * of its /etc: no link is followed, and nothing outside of its root is reached.
 */
export function openFileSteps({ name, state }: Running, path: string): Step[] {
  return [
    { op: 'open_container', fd: 'fd:root', state, file: 'root', about: `find the root of ${name}` },
    {
      op: 'open',
      fd: FILE,
      dir: 'fd:root',
      path: path.replace(/^\/+/, ''),
      flags: O.RDWR | O.NOFOLLOW,
      mode: 0,
      resolve: RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,
      about: `open ${path} of ${name}`,
    },
  ]
}
