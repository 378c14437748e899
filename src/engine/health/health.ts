import { join } from 'node:path'
import type { NamespaceType, OciConfig } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'
import type { HealthCheck } from '../../model/health.ts'
import { signalNumber } from '../../model/kernel-names.ts'
import type { HealthLaunch, LaunchSpec } from '../../model/launch.ts'
import { compileExec } from '../../plan/compile-exec.ts'
import { encodePlan } from '../../plan/encode.ts'
import { connectMonitor } from '../../runtime/monitor-client.ts'
import { findContainer } from '../state/containers-view.ts'
import { monitorSocket } from '../live/monitor-socket.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

const SIGTERM = 15
/** docker's default. */
export const STOP_TIMEOUT_MS = 10_000

/** What health checks add to the start of a container. */
export function healthSpec(
  paths: EnginePaths,
  record: Pick<ContainerRecord, 'id' | 'stopSignal' | 'stopTimeoutMs'>,
  spec: LaunchSpec,
  check: HealthCheck,
): Pick<LaunchSpec, 'health' | 'stopBy'> {
  const { stopTimeoutMs: afterMs = STOP_TIMEOUT_MS } = record
  return {
    health: healthLaunch(check, spec, join(paths.runRoot, record.id)),
    stopBy: { signal: signalNumber(record.stopSignal) ?? SIGTERM, afterMs },
  }
}

/** What the monitor needs to make a check without us: the plan of an exec as the container's own user, confined as it is. */
function healthLaunch(
  check: HealthCheck,
  spec: Pick<LaunchSpec, 'config' | 'cgroup' | 'seccomp'>,
  directory: string,
): HealthLaunch {
  const { config, cgroup, seccomp } = spec
  if (config.process === undefined) throw new RangeError('a container without a process')
  const plan = compileExec({
    process: { ...config.process, args: check.args, terminal: false },
    namespaces: namespacesOf(config),
    uidMappings: config.linux?.uidMappings ?? [],
    gidMappings: config.linux?.gidMappings ?? [],
    // A pipe of the monitor's, which the container's user may reopen as /dev/stdout.
    stdio: { kind: 'inherited', give: [false, true, true] },
    detached: false,
    preserveFds: 0,
    keyring: true,
    pidfdSocket: false,
    ...(cgroup === undefined ? {} : { cgroup: `${cgroup.parent}/${cgroup.name}` }),
    ...(seccomp === undefined ? {} : { seccomp }),
  })
  return { ...check, directory, plan: encodePlan(plan, { monitor: false, trace: false }) }
}

/** Those in which the container is not with us; its mounts always are its own. */
function namespacesOf({ linux }: OciConfig): Set<NamespaceType> {
  return new Set((linux?.namespaces ?? []).map(({ type }) => type))
}

/** Makes a check at once; resolves to whether it passed. Throws CONTAINER_STATE where there is none to be made. */
export async function checkHealth(paths: EnginePaths, idOrName: string): Promise<boolean> {
  const { record, status } = findContainer(paths, idOrName)
  const refused = (reason: string, hint: string): TscrunError =>
    new TscrunError('CONTAINER_STATE', `healthcheck ${idOrName}: ${reason}`, { subject: idOrName, hint })
  if (record.launch?.health === undefined) throw refused('it has no health check', 'run it with --health-cmd')
  if (status !== 'running') throw refused(`it is ${status}`, '`tscrun start` starts it again')
  const client = connectMonitor(monitorSocket(paths, record.id))
  if (client === undefined) throw refused('it runs in the foreground of another command', 'run it with --detach')
  try {
    const passed = await client.check()
    if (typeof passed === 'boolean') return passed
    throw refused(`no check was made (${passed})`, 'try again')
  } finally {
    client.close()
  }
}
