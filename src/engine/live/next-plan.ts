import { basename, dirname, join } from 'node:path'
import type { DetachedLaunch, LaunchSpec, Stdio } from '../../model/launch.ts'
import type { Plan } from '../../model/step.ts'
import { compile } from '../../plan/compile.ts'
import { hostFacts } from '../../runtime/host.ts'
import { eventLaunch } from '../events/launch.ts'
import { healthSpec } from '../health/health.ts'
import { storedJoins } from '../ids/joined-container.ts'
import { leaseLinks } from '../networks/lease-links.ts'
import { networkOfRecord } from '../networks/of-record.ts'
import type { EnginePaths } from '../paths.ts'
import { placeCgroup } from '../start/cgroup.ts'
import { monitorsCgroup } from '../start/monitors-cgroup.ts'
import { withLock } from '../start/start.ts'
import { ownerTag } from '../state/owner-link.ts'
import type { ContainerRecord, StoredLaunch } from '../state/record.ts'
import { keptVolumes, userFile, volumePath } from '../volumes/users.ts'
import { backgroundStreams } from './passthrough.ts'

export type StartableRecord = ContainerRecord & { readonly launch: StoredLaunch }

/**
 * The plan of the lives to come of a container that is there.
 *
 * @param stdio of a first life of this monitor; in further ones it has what it was given then
 */
export function nextPlan(paths: EnginePaths, record: StartableRecord, stdio = streamsOf(record)): Plan {
  const cgroup = placeCgroup(record.id, record.config)
  const joins = storedJoins(paths, record.launch.joins)
  const network = networkOfRecord(paths, record)
  const spec = {
    ...specOf(record, join(paths.containers, record.id)),
    stdio,
    ...(joins === undefined ? {} : { joins }),
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(network === undefined ? {} : { network }),
  }
  return detachedPlan(paths, record, spec, { creates: false })
}

export function detachedPlan(
  paths: EnginePaths,
  record: StartableRecord,
  spec: LaunchSpec,
  { creates }: { readonly creates: boolean },
): Plan {
  const events = eventLaunch(paths, record, creates)
  const { health } = record.launch
  const checks = health === undefined ? {} : healthSpec(paths, record, spec, health)
  return withLock(compile({ ...spec, ...checks, detach: detachOf(paths, record), events }))
}

function detachOf(paths: EnginePaths, record: StartableRecord): DetachedLaunch {
  const monitors = monitorsCgroup()
  const text = ownerTag(record.id)
  const leases = leaseLinks(paths, record.connections ?? [])
  const links = [join(paths.names, record.name), ...leases].map((path) => ({
    directory: dirname(path),
    name: basename(path),
    text,
  }))
  const range =
    record.idRange === undefined
      ? {}
      : { range: { path: join(paths.ranges, String(record.idRange.hostId)), entry: ownerTag(record.id) } }
  const volumes = keptVolumes(record.mounts)
  const user = userFile(record.id)
  const pathsOf = (anonymous: boolean): string[] =>
    volumes.flatMap((volume) => (volume.anonymous === anonymous ? [volumePath(paths, volume.volume)] : []))
  const left = pathsOf(false).map((path) => join(path, user))
  return {
    runDirectory: join(paths.runRoot, record.id),
    log: record.launch.log,
    restart: record.launch.restart,
    ...(monitors === undefined ? {} : { monitors }),
    ...(record.launch.timeLimitMs === undefined ? {} : { timeLimitMs: record.launch.timeLimitMs }),
    ...(record.remove ? { remove: { links, ...range, files: left, volumes: pathsOf(true), user } } : {}),
  }
}

export function streamsOf({ config, launch }: StartableRecord, verb?: string): Stdio {
  const { log, interactive } = launch
  return backgroundStreams(log.driver, { terminal: config.process?.terminal === true, interactive }, verb)
}

function specOf(record: StartableRecord, directory: string): Omit<LaunchSpec, 'stdio'> {
  const { rootfs, files, init, seccomp } = record.launch
  return {
    id: record.id,
    config: record.config,
    directory,
    rootfs,
    files,
    init,
    kernel: hostFacts().kernel,
    ...(seccomp === undefined
      ? {}
      : { seccomp: { program: Buffer.from(seccomp.program, 'base64'), flags: seccomp.flags } }),
  }
}
