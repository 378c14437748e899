import type { IdMapping, NamespaceType, OciConfig, OciNamespace } from '../model/config.ts'
import { CLONE } from '../model/linux.ts'

export const NAMESPACE_FLAGS = {
  mount: CLONE.NEWNS,
  cgroup: CLONE.NEWCGROUP,
  uts: CLONE.NEWUTS,
  ipc: CLONE.NEWIPC,
  user: CLONE.NEWUSER,
  pid: CLONE.NEWPID,
  network: CLONE.NEWNET,
  time: CLONE.NEWTIME,
} as const satisfies Record<NamespaceType, number>

/** Which namespaces are made, joined, or shared with the host. */
export interface NamespaceSelection {
  readonly fresh: ReadonlySet<NamespaceType>
  readonly joined: readonly (OciNamespace & { readonly path: string })[]
  /** A user namespace other than the host's, made or joined: root in the container is nobody on the host. */
  readonly ownUser: boolean
  /** It is joined: the first process enters it, and makes the other namespaces in there. */
  readonly joinsUser: boolean
  /** Whose mounts it sees: a namespace of its own, one it joins, or the host's. */
  readonly mounts: 'own' | 'joined' | 'host'
}

export function selectNamespaces(config: OciConfig): NamespaceSelection {
  const all = config.linux?.namespaces ?? []
  const fresh = new Set(all.filter((namespace) => namespace.path === undefined).map((namespace) => namespace.type))
  const joined = all.filter((namespace): namespace is OciNamespace & { path: string } => namespace.path !== undefined)
  const joinsUser = joined.some((namespace) => namespace.type === 'user')
  const mounts = joined.some(({ type }) => type === 'mount') ? 'joined' : fresh.has('mount') ? 'own' : 'host'
  return { fresh, joined, ownUser: fresh.has('user') || joinsUser, joinsUser, mounts }
}

/** The host's id of a container's id. Undefined where the mapping does not cover it; the same id without a mapping. */
export function hostId(mappings: readonly IdMapping[] | undefined, containerId: number): number | undefined {
  if (mappings === undefined || mappings.length === 0) return containerId
  for (const mapping of mappings) {
    const offset = containerId - mapping.containerID
    if (offset >= 0 && offset < mapping.size) return mapping.hostID + offset
  }
  return undefined
}

/** The id that rules in the container: 0, or the lowest one that the mapping has. */
export function rootId(mappings: readonly IdMapping[] | undefined): number {
  if (hostId(mappings, 0) !== undefined) return 0
  return Math.min(...(mappings ?? []).map(({ containerID }) => containerID))
}

/** Lines for /proc/PID/uid_map (user_namespaces(7)). */
export function mapLines(mappings: readonly IdMapping[]): string {
  return mappings.map((mapping) => `${mapping.containerID} ${mapping.hostID} ${mapping.size}\n`).join('')
}
