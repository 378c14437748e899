import type { ImageTexts } from '../image-verbs/texts.ts'
import type { StoredImage } from '../../images/store.ts'
import type { NamespaceType, OciConfig } from '../../model/config.ts'
import type { HealthCheck, ImageHealthcheck } from '../../model/health.ts'
import { LOG_FILE } from '../../model/launch.ts'
import type { NetworkConnection } from '../../model/network.ts'
import { formatPlatform } from '../../model/platform.ts'
import type { ContainerView } from '../state/containers-view.ts'
import type { HealthState } from '../health/state.ts'
import { cniConnections } from '../networks/cni/attach.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { keptVolumes } from '../volumes/users.ts'

/** A container under docker's key names, and its OCI config as `OCIConfig`. */
export function inspectContainer(
  paths: EnginePaths,
  { record, status, live, health }: ContainerView,
): Readonly<Record<string, unknown>> {
  const { config, exit } = record
  const check = record.launch?.health
  const time = (ms: number | undefined): string =>
    ms === undefined ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString()
  const [path = '', ...args] = config.process?.args ?? []
  const memory = config.linux?.resources?.memory
  return {
    Id: record.id,
    Created: time(record.createdMs),
    Path: path,
    Args: args,
    State: {
      Status: status === 'stopped' ? 'exited' : status,
      Running: status !== 'stopped' && status !== 'created',
      Paused: status === 'paused',
      Restarting: status === 'restarting',
      Dead: false,
      OOMKilled: exit?.oomKilled ?? false,
      Pid: live?.pid ?? 0,
      ExitCode: exit?.exitCode ?? 0,
      Signal: exit?.signal ?? '',
      Error: exit?.error ?? '',
      StartedAt: time(live?.startedMs ?? exit?.startedMs),
      FinishedAt: time(exit?.finishedMs),
      ...(exit?.timedOut === undefined ? {} : { TimedOut: true }),
      ...(health === undefined ? {} : { Health: inspectHealth(health) }),
    },
    Image: record.imageId ?? '',
    ImageName: record.image,
    Name: record.name,
    RestartCount: live?.restarts ?? exit?.restarts ?? 0,
    Driver: 'overlay',
    Platform: 'linux',
    LogPath: record.launch?.log.driver === 'none' ? '' : `${paths.containers}/${record.id}/${LOG_FILE}`,
    HostConfig: {
      NetworkMode: record.network,
      PidMode: modeOf(record, 'pid'),
      IpcMode: modeOf(record, 'ipc'),
      UTSMode: modeOf(record, 'uts'),
      UsernsMode: modeOf(record, 'user'),
      CgroupnsMode: modeOf(record, 'cgroup'),
      AutoRemove: record.remove,
      LogConfig: {
        Type: record.launch?.log.driver ?? 'k8s-file',
        Config: {
          'max-size': String(record.launch?.log.maxSize ?? 0),
          'max-file': String(record.launch?.log.maxFiles ?? 1),
        },
      },
      RestartPolicy: {
        Name: record.launch?.restart.name ?? 'no',
        MaximumRetryCount: record.launch?.restart.most ?? 0,
      },
      ReadonlyRootfs: config.root?.readonly ?? false,
      Memory: memory?.limit ?? 0,
      MemorySwap: memory?.swap ?? 0,
      PidsLimit: config.linux?.resources?.pids?.limit ?? 0,
      CpuQuota: config.linux?.resources?.cpu?.quota ?? 0,
      CpuPeriod: config.linux?.resources?.cpu?.period ?? 0,
      ...moreLimits(config),
      PortBindings: publishedPorts(record),
    },
    Mounts: (config.mounts ?? [])
      .filter((mount) => mount.type === 'bind')
      .map((mount) => ({
        ...volumeAt(record, mount.destination),
        Source: mount.source,
        Destination: mount.destination,
        RW: mount.options?.includes('ro') !== true,
        Options: mount.options,
      })),
    Config: {
      Hostname: config.hostname ?? '',
      User: `${config.process?.user.uid}:${config.process?.user.gid}`,
      Tty: config.process?.terminal === true,
      OpenStdin: record.launch?.interactive ?? false,
      Env: config.process?.env ?? [],
      Cmd: config.process?.args ?? [],
      Image: record.image,
      WorkingDir: config.process?.cwd ?? '/',
      Labels: record.labels,
      ...(record.exposed === undefined
        ? {}
        : { ExposedPorts: Object.fromEntries(record.exposed.map((port) => [port, {}])) }),
      StopSignal: record.stopSignal,
      ...(record.stopTimeoutMs === undefined ? {} : { StopTimeout: record.stopTimeoutMs / 1000 }),
      ...(check === undefined ? {} : { Healthcheck: inspectCheck(check), HealthcheckOnFailureAction: check.onFailure }),
    },
    IDMappings: {
      UidMap: (config.linux?.uidMappings ?? []).map((map) => `${map.containerID}:${map.hostID}:${map.size}`),
      GidMap: (config.linux?.gidMappings ?? []).map((map) => `${map.containerID}:${map.hostID}:${map.size}`),
    },
    NetworkSettings: networkSettings(paths, record, live?.pid),
    CgroupPath: record.cgroup ?? '',
    Directory: `${paths.containers}/${record.id}`,
    OCIConfig: config,
  }
}

/** Each under docker's key; 0 or '' where it is not set. */
function moreLimits({ linux, mounts = [], process }: OciConfig): Readonly<Record<string, unknown>> {
  const { memory, cpu, blockIO } = linux?.resources ?? {}
  const { quota = 0, period = 0 } = cpu ?? {}
  const binds = mounts.filter(({ type }) => type === 'bind')
  const tmpfs = mounts.filter(({ type, destination }) => type === 'tmpfs' && !destination.startsWith('/dev'))
  return {
    MemoryReservation: memory?.reservation ?? 0,
    NanoCpus: quota > 0 && period > 0 ? Math.round((quota / period) * 1e9) : 0,
    CpuShares: cpu?.shares ?? 0,
    CpusetCpus: cpu?.cpus ?? '',
    CpusetMems: cpu?.mems ?? '',
    BlkioWeight: blockIO?.weight ?? 0,
    OomScoreAdj: process?.oomScoreAdj ?? 0,
    Binds: binds.map(
      ({ source, destination, options = [] }) => `${source}:${destination}:${options.includes('ro') ? 'ro' : 'rw'}`,
    ),
    Tmpfs: Object.fromEntries(tmpfs.map(({ destination, options = [] }) => [destination, options.join(',')])),
    Ulimits: (process?.rlimits ?? []).map(({ type, soft, hard }) => ({ Name: type, Soft: soft, Hard: hard })),
  }
}

/** Under docker's key names; the first network's addresses stand outside too. */
function networkSettings(
  paths: EnginePaths,
  record: ContainerRecord,
  pid: number | undefined,
): Readonly<Record<string, unknown>> {
  const { network } = record
  const connections = record.cni === undefined ? (record.connections ?? []) : cniConnections(paths, record)
  const addressesOf = ({
    ip = '',
    ip6 = '',
    mac,
    gateway = '',
  }: Partial<NetworkConnection>): Record<string, string> => ({
    Gateway: gateway,
    IPAddress: ip,
    GlobalIPv6Address: ip6,
    MacAddress: mac ?? '',
  })
  const networks = connections.map((connection) => [
    connection.network,
    { NetworkID: connection.networkId, Aliases: connection.aliases, ...addressesOf(connection) },
  ])
  const none = network === 'none' || network === 'host' ? { [network]: addressesOf({}) } : {}
  return {
    Ports: { ...Object.fromEntries((record.exposed ?? []).map((port) => [port, null])), ...publishedPorts(record) },
    SandboxKey: pid === undefined ? '' : `/proc/${pid}/ns/net`,
    ...addressesOf(connections[0] ?? {}),
    Networks: networks.length === 0 ? none : Object.fromEntries(networks),
  }
}

function publishedPorts({ ports = [] }: ContainerRecord): Readonly<Record<string, unknown>> {
  const published: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const { protocol, containerPort, hostIp = '0.0.0.0', hostPort } of ports) {
    const list = (published[`${containerPort}/${protocol}`] ??= [])
    list.push({ HostIp: hostIp, HostPort: String(hostPort) })
  }
  return published
}

/** As docker has it: `private`, `host`, `container:` and its id; `ns:` and a path. */
function modeOf({ config, launch }: ContainerRecord, type: NamespaceType): string {
  const joined = launch?.joins?.find((join) => join.type === type)
  if (joined !== undefined) return `container:${joined.container}`
  const namespace = config.linux?.namespaces?.find((each) => each.type === type)
  if (namespace === undefined) return 'host'
  return namespace.path === undefined ? 'private' : `ns:${namespace.path}`
}

function volumeAt({ mounts }: ContainerRecord, target: string): Readonly<Record<string, string>> {
  const volume = keptVolumes(mounts).find((mount) => mount.target === target)
  return volume === undefined ? { Type: 'bind' } : { Type: 'volume', Name: volume.volume, Driver: 'local' }
}

function inspectHealth({ status, failingStreak, log }: HealthState): Readonly<Record<string, unknown>> {
  return {
    Status: status,
    FailingStreak: failingStreak,
    Log: log.map(({ startedMs, endedMs, exitCode, output }) => ({
      Start: new Date(startedMs).toISOString(),
      End: new Date(endedMs).toISOString(),
      ExitCode: exitCode,
      Output: output,
    })),
  }
}

/** docker has these times in nanoseconds. */
function inspectCheck({ args, retries, ...times }: HealthCheck): Readonly<Record<string, unknown>> {
  return {
    Test: ['CMD', ...args],
    Interval: times.intervalMs * 1e6,
    Timeout: times.timeoutMs * 1e6,
    StartPeriod: times.startPeriodMs * 1e6,
    StartInterval: times.startIntervalMs * 1e6,
    Retries: retries,
  }
}

/** An image under docker's key names. */
export function inspectImage(image: StoredImage, texts?: ImageTexts): Readonly<Record<string, unknown>> {
  const { config } = image
  return {
    Id: image.id,
    RepoTags: image.names.filter((name) => !name.includes('@')),
    RepoDigests: image.names.map((name) => `${name.replace(/[:@][^/]*$/, '')}@${image.manifest.digest}`),
    Created: image.created ?? '',
    Author: texts?.author ?? '',
    Comment: texts?.comment ?? '',
    Size: image.size,
    Os: config.platform.os,
    Architecture: config.platform.architecture,
    Variant: config.platform.variant ?? '',
    Platform: formatPlatform(config.platform),
    Config: {
      User: config.user,
      Env: config.env,
      Entrypoint: config.entrypoint,
      Cmd: config.cmd,
      WorkingDir: config.workingDir,
      Labels: Object.fromEntries(config.labels),
      Volumes: Object.fromEntries(config.volumes.map((path) => [path, {}])),
      ExposedPorts: Object.fromEntries(config.exposedPorts.map((port) => [port, {}])),
      OnBuild: texts?.onBuild ?? [],
      StopSignal: config.stopSignal ?? '',
      ...(config.healthcheck === undefined ? {} : { Healthcheck: inspectImageCheck(config.healthcheck) }),
    },
    RootFS: { Type: 'layers', Layers: config.diffIds },
    GraphDriver: { Name: 'overlay', Data: { Layers: image.layers } },
  }
}

function inspectImageCheck({ test, retries, ...times }: ImageHealthcheck): Readonly<Record<string, unknown>> {
  const given: Record<string, number> = {}
  if (times.intervalMs !== undefined) given['Interval'] = times.intervalMs * 1e6
  if (times.timeoutMs !== undefined) given['Timeout'] = times.timeoutMs * 1e6
  if (times.startPeriodMs !== undefined) given['StartPeriod'] = times.startPeriodMs * 1e6
  if (times.startIntervalMs !== undefined) given['StartInterval'] = times.startIntervalMs * 1e6
  if (retries !== undefined) given['Retries'] = retries
  return { Test: test, ...given }
}
