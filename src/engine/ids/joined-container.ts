import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { NamespaceType, OciConfig } from '../../model/config.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { JoinedNamespace, LaunchSpec } from '../../model/launch.ts'
import type { NamespaceOptions, RunOptions } from '../../model/run-options.ts'
import { namespaceFile } from '../../namespaces/steps.ts'
import { readRecord } from '../state/containers.ts'
import { type ContainerView, findContainer, tryFindContainer } from '../state/containers-view.ts'
import type { IdRange } from './id-range.ts'
import type { JoinedMappings } from './joined-user.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord, StoredJoin } from '../state/record.ts'

/**
 * A container may join namespaces of another one, its target. Their user namespace comes along, and with it the target's
 * ids: only there it may do anything with them. The target is kept by its id and looked for again at each start.
 */
export interface JoinedTargets {
  /** The options with the paths of today instead of the targets' names. */
  readonly options: RunOptions
  readonly stored: readonly StoredJoin[]
  readonly joins: readonly JoinedNamespace[]
  /** Of the user namespace; undefined: the host's. */
  readonly mappings: JoinedMappings | undefined
  /** The range of ids that is the target's, too. */
  readonly range?: { readonly target: string; readonly range: IdRange }
  /** With its network: the target's /etc/hosts and their kin. */
  readonly files?: LaunchSpec['files']
  readonly hostname?: string
  /** As `docker inspect` says it: `container:` and the id. */
  readonly network?: string
}

/** The option's key, the namespace's type, the flag. */
const KINDS = [
  ['pid', 'pid', '--pid'],
  ['ipc', 'ipc', '--ipc'],
  ['uts', 'uts', '--uts'],
  ['cgroup', 'cgroup', '--cgroupns'],
  ['user', 'user', '--userns'],
] as const

interface Target {
  readonly type: NamespaceType
  readonly flag: string
  readonly view: ContainerView
}

/**
 * Looks for the targets that the options name. Throws NO_SUCH_CONTAINER, CONTAINER_STATE where one does not run, USAGE
 * where other options contradict.
 *
 * @param mustRun false for a container that is only made
 */
export function findTargets(paths: EnginePaths, options: RunOptions, mustRun: boolean): JoinedTargets {
  const targets = targetsOf(paths, options, mustRun)
  const [first] = targets
  if (first === undefined) throw new RangeError('no target')
  checkUser(options, targets)
  checkOthers(options, targets)
  const { record } = first.view
  const mappings = mappingsOf(record)
  const network = targets.find(({ type }) => type === 'network')?.view.record
  const all = mappings === undefined ? targets : [...targets.filter(({ type }) => type !== 'user'), userOf(first)]
  return {
    options: withPaths(options, all, mappings === undefined),
    stored: all.map(({ type, view }) => ({ type, container: view.record.id })),
    joins: all.map((target) => joinOf(paths, target.type, target.view.record)),
    mappings,
    ...(mappings === undefined || record.idRange === undefined
      ? {}
      : { range: { target: record.id, range: record.idRange } }),
    ...(network === undefined ? {} : withNetworkOf(network)),
  }
}

function targetsOf(paths: EnginePaths, { namespaces = {}, network }: RunOptions, mustRun: boolean): Target[] {
  const targets: Target[] = []
  const add = (type: NamespaceType, flag: string, choice: unknown): void => {
    if (typeof choice !== 'object' || choice === null || !('container' in choice)) return
    const view = findContainer(paths, String(choice.container))
    if (mustRun) requireRunning(view, `${flag} container:${String(choice.container)}`)
    targets.push({ type, flag, view })
  }
  for (const [key, type, flag] of KINDS) add(type, flag, namespaces[key])
  add('network', '--network', network)
  return targets
}

function requireRunning({ status, live, record }: ContainerView, what: string): void {
  if ((status === 'running' || status === 'paused') && live !== undefined) return
  throw new TscrunError('CONTAINER_STATE', `${what}: container ${record.name} is ${status}`, {
    subject: record.name,
    hint: `start it first: tscrun start ${record.name}`,
  })
}

const userOf = (target: Target): Target => ({ ...target, type: 'user', flag: '--userns' })

function mappingsOf({ config }: ContainerRecord): JoinedMappings | undefined {
  const own = config.linux?.namespaces?.some(({ type }) => type === 'user') === true
  return own ? { uid: config.linux?.uidMappings ?? [], gid: config.linux?.gidMappings ?? [] } : undefined
}

/** Only one user namespace can be joined, and it is the targets'. */
function checkUser({ namespaces }: RunOptions, targets: readonly Target[]): void {
  const [first] = targets
  if (first === undefined) return
  const { name } = first.view.record
  const other = targets.find((target) => !haveSameUser(first.view, target.view))
  if (other !== undefined) {
    const both = `${name} and ${other.view.record.name}`
    throw new TscrunError('USAGE', `${first.flag}, ${other.flag}: ${both} have different user namespaces`, {
      subject: other.view.record.name,
      hint: 'join one container, or containers that have joined one another',
    })
  }
  const asked = namespaces?.user
  const ofHost = mappingsOf(first.view.record) === undefined
  if (asked === undefined || (asked === 'host' && ofHost) || (typeof asked === 'object' && 'container' in asked)) return
  const word = typeof asked === 'object' ? `ns:${asked.path}` : asked
  const why = `${first.flag} container:${name} joins ${ofHost ? "the host's user namespace" : `the user namespace of ${name}`}`
  throw new TscrunError('USAGE', `--userns ${word}: ${why}`, {
    subject: '--userns',
    hint: 'leave --userns out: what belongs to a user namespace can only be shared within it',
  })
}

function haveSameUser(one: ContainerView, other: ContainerView): boolean {
  if (JSON.stringify(mappingsOf(one.record)) !== JSON.stringify(mappingsOf(other.record))) return false
  if (one.live === undefined || other.live === undefined) return true
  return userLink(one.live.pid) === userLink(other.live.pid)
}

function userLink(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined
    throw error
  }
}

/** What would be passed over is refused, as docker does it. */
function checkOthers(options: RunOptions, targets: readonly Target[]): void {
  const has = (type: NamespaceType): string | undefined =>
    targets.find((target) => target.type === type)?.view.record.name
  const refuse = (flag: string, join: string, name: string): never => {
    throw new TscrunError('USAGE', `${flag}: not with ${join} container:${name}, which has its own`, {
      subject: flag,
      hint: `give it to ${name}, or leave it out`,
    })
  }
  const [network, uts, ipc] = [has('network'), has('uts'), has('ipc')]
  if (options.hostname !== undefined && uts !== undefined) refuse('--hostname', '--uts', uts)
  if (ipc !== undefined && options.shmSize !== undefined) refuse('--shm-size', '--ipc', ipc)
  if (network === undefined) return
  for (const [key, flag] of [
    ['hostname', '--hostname'],
    ['dns', '--dns'],
    ['dnsSearch', '--dns-search'],
    ['dnsOption', '--dns-option'],
    ['addHost', '--add-host'],
  ] as const) {
    if (options[key] !== undefined) refuse(flag, '--network', network)
  }
}

function withPaths(options: RunOptions, targets: readonly Target[], usersOfHost: boolean): RunOptions {
  const namespaces: { -readonly [key in keyof NamespaceOptions]: NamespaceOptions[key] } = { ...options.namespaces }
  if (usersOfHost) namespaces.user = 'host'
  let { network } = options
  for (const { type, view } of targets) {
    const path = pathOf(type, view)
    if (type === 'network') network = { path }
    else if (type !== 'mount' && type !== 'time' && !(usersOfHost && type === 'user')) namespaces[type] = { path }
  }
  return {
    ...options,
    namespaces,
    ...(network === undefined ? {} : { network }),
  }
}

/** For people and records; the stage looks for the target itself. */
function pathOf(type: NamespaceType, { live }: ContainerView): string {
  return `/proc/${live?.pid ?? 'container'}/${namespaceFile(type)}`
}

function joinOf(
  paths: EnginePaths,
  type: NamespaceType,
  { id, name }: Pick<ContainerRecord, 'id' | 'name'>,
): JoinedNamespace {
  return { type, name, state: join(paths.runRoot, id, 'state.json') }
}

/** The same of what is kept of a container, for a plan that looks for its targets when it runs. */
export function storedJoins(
  paths: EnginePaths,
  stored: readonly StoredJoin[] | undefined,
): readonly JoinedNamespace[] | undefined {
  return stored?.map(({ type, container }) => {
    const name = readRecord(paths, container)?.name ?? container.slice(0, 12)
    return joinOf(paths, type, { id: container, name })
  })
}

function withNetworkOf({ id, launch, config }: ContainerRecord): Pick<JoinedTargets, 'files' | 'hostname' | 'network'> {
  return {
    network: `container:${id}`,
    ...(launch === undefined ? {} : { files: launch.files }),
    ...(config.hostname === undefined ? {} : { hostname: config.hostname }),
  }
}

/** What `start` of a container that joins others changes in what is kept of it. */
export interface Rejoined {
  readonly config: OciConfig
  readonly joins: readonly JoinedNamespace[]
  readonly files: LaunchSpec['files']
}

/** Looks for the targets once more. Throws NO_SUCH_CONTAINER where one is gone, CONTAINER_STATE where it does not run. */
export function rejoin(paths: EnginePaths, record: ContainerRecord, stored: readonly StoredJoin[]): Rejoined {
  const views = new Map(stored.map(({ type, container }) => [type, again(paths, record, type, container)]))
  const namespaces = record.config.linux?.namespaces?.map((namespace) => {
    const view = views.get(namespace.type)
    return view === undefined ? namespace : { ...namespace, path: pathOf(namespace.type, view) }
  })
  return {
    config: {
      ...record.config,
      linux: { ...record.config.linux, ...(namespaces === undefined ? {} : { namespaces }) },
    },
    joins: [...views].map(([type, view]) => joinOf(paths, type, view.record)),
    files: views.get('network')?.record.launch?.files ?? record.launch?.files ?? [],
  }
}

function again(paths: EnginePaths, { name }: ContainerRecord, type: NamespaceType, id: string): ContainerView {
  const view = tryFindContainer(paths, id)
  if (view !== undefined) {
    requireRunning(view, `start ${name}: it joins the ${type} namespace of another`)
    return view
  }
  throw new TscrunError(
    'NO_SUCH_CONTAINER',
    `start ${name}: container ${id.slice(0, 12)}, whose ${type} namespace it joins, has been removed`,
    { subject: name, hint: 'its files are still there: `tscrun export`, `tscrun cp`; then make it anew' },
  )
}
