import type { DetachedOptions, RunOptions } from '../../model/run-options.ts'
import type { Settings } from '../../model/settings.ts'

/** Options of a container with the host's settings where they say nothing. */
export function withDefaults<T extends RunOptions & DetachedOptions>(run: T, settings: Settings): T {
  const joined = typeof run.network === 'object' && 'container' in run.network
  const own = joined ? {} : networkDefaults(run, settings)
  const log = { ...settings.log, ...run.log }
  return {
    ...run,
    ...own,
    ...(run.network === undefined && settings.network !== undefined ? { network: networkOf(settings.network) } : {}),
    ...(run.pull === undefined && settings.pull !== undefined ? { pull: settings.pull } : {}),
    ...(run.maxUnpackSize === undefined && settings.maxUnpackSize !== undefined
      ? { maxUnpackSize: settings.maxUnpackSize }
      : {}),
    ...(Object.keys(log).length === 0 ? {} : { log }),
    ...(settings.ulimits === undefined ? {} : { ulimits: withUlimits(run, settings.ulimits) }),
    ...(settings.capabilities === undefined ? {} : { defaultCapabilities: settings.capabilities }),
    ...userDefaults(run, settings),
    ...seccompDefaults(run, settings),
  }
}

function networkDefaults(run: RunOptions, { dns, dnsSearch, dnsOptions, hosts }: Settings): Partial<RunOptions> {
  return {
    ...(run.dns === undefined && dns !== undefined ? { dns } : {}),
    ...(run.dnsSearch === undefined && dnsSearch !== undefined ? { dnsSearch } : {}),
    ...(run.dnsOption === undefined && dnsOptions !== undefined ? { dnsOption: dnsOptions } : {}),
    // Lines of both.
    ...(hosts === undefined ? {} : { addHost: [...hosts, ...(run.addHost ?? [])] }),
  }
}

function networkOf(name: string): NonNullable<RunOptions['network']> {
  return name === 'none' || name === 'host' ? name : { networks: [{ name }] }
}

/** One that is asked for stands for the setting of its name. */
function withUlimits(run: RunOptions, defaults: NonNullable<Settings['ulimits']>): NonNullable<RunOptions['ulimits']> {
  const asked = run.ulimits ?? []
  return [...defaults.filter(({ name }) => !asked.some((limit) => limit.name === name)), ...asked]
}

/** What joins a container has that one's, and `--privileged` the host's. */
function userDefaults(run: RunOptions, { userns }: Settings): Partial<RunOptions> {
  const { pid, ipc, uts, cgroup, user } = run.namespaces ?? {}
  const joins = [pid, ipc, uts, cgroup, run.network].some((one) => typeof one === 'object' && 'container' in one)
  if (userns === undefined || user !== undefined || run.privileged === true || joins) return {}
  return { namespaces: { ...run.namespaces, user: userns } }
}

function seccompDefaults(run: RunOptions, { seccompProfile }: Settings): Partial<RunOptions> {
  if (seccompProfile === undefined || run.security?.seccomp !== undefined || run.privileged === true) return {}
  return { security: { ...run.security, seccomp: seccompProfile } }
}
