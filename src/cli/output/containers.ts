import type { ContainerSummary } from '../../engine/api.ts'
import { formatAgo, formatMoment, formatSpan } from './relative-time.ts'
import { formatSize, type RowOptions, shortName } from './images.ts'

/** Headings by template field, as docker has them. */
export const CONTAINER_HEADINGS = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  RunningFor: 'CREATED',
  CreatedAt: 'CREATED AT',
  Status: 'STATUS',
  State: 'STATE',
  Names: 'NAMES',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
  Networks: 'NETWORKS',
  LocalVolumes: 'LOCAL VOLUMES',
  Ports: 'PORTS',
  Size: 'SIZE',
  ImageID: 'IMAGE ID',
  Pid: 'PID',
  ExitCode: 'EXIT CODE',
} as const

export type ContainerRow = Readonly<Record<keyof typeof CONTAINER_HEADINGS, string>> & {
  /** `{{.Label "key"}}` */
  Label(this: void, key: unknown): string
}

/** What docker puts over a column of one label: the last word of its key. */
export const labelHeading = (key: unknown): string =>
  String(key)
    .split(/[./_-]/)
    .at(-1)
    ?.toUpperCase() ?? ''

/** docker's width of the command column. */
const COMMAND_WIDTH = 20

export function containerRow(container: ContainerSummary, options: RowOptions): ContainerRow {
  const short = (text: string, width: number): string =>
    options.noTrunc || [...text].length <= width ? text : `${[...text].slice(0, width - 1).join('')}…`
  return {
    ID: options.noTrunc ? container.id : container.id.slice(0, 12),
    Image: shortName(container.image),
    // A quoted JSON string cannot carry a control character to the terminal.
    Command: JSON.stringify(short(container.command.join(' '), COMMAND_WIDTH)),
    RunningFor: formatAgo(container.createdMs, options.nowMs),
    CreatedAt: formatMoment(container.createdMs),
    Status: statusText(container, options.nowMs),
    State: container.status === 'stopped' ? 'exited' : container.status,
    Names: container.name,
    Labels: Object.entries(container.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: container.mounts.map((mount) => short(mount, 15)).join(','),
    Networks: container.network,
    LocalVolumes: String(container.mounts.filter((mount) => !mount.startsWith('/')).length),
    Ports: portsText(container),
    Size: sizeText(container),
    ImageID: options.noTrunc
      ? (container.imageId ?? '')
      : (container.imageId ?? '').replace(/^sha256:/, '').slice(0, 12),
    Pid: String(container.pid ?? 0),
    ExitCode: String(container.exitCode ?? 0),
    Label: (key) => container.labels[String(key)] ?? '',
  }
}

/** `12kB (virtual 5.6MB)`; '' where it was not asked for. */
function sizeText({ size }: ContainerSummary): string {
  return size === undefined ? '' : `${formatSize(size.writable)} (virtual ${formatSize(size.root)})`
}

const HEALTH_WORDS = { starting: 'health: starting', healthy: 'healthy', unhealthy: 'unhealthy' } as const

/** `Up 3 minutes`, `Exited (0) 2 hours ago`. */
export function statusText(container: ContainerSummary, nowMs: number): string {
  const up = `Up ${formatSpan(nowMs - (container.startedMs ?? container.createdMs))}`
  switch (container.status) {
    case 'created':
      return 'Created'
    case 'running':
      return container.health === undefined ? up : `${up} (${HEALTH_WORDS[container.health]})`
    case 'paused':
      return `${up} (Paused)`
    case 'restarting':
      return `Restarting ${endText(container, nowMs)}`
    case 'stopped':
      return `Exited ${endText(container, nowMs)}`
    default:
      return container.status satisfies never
  }
}

function endText({ finishedMs, exitCode }: ContainerSummary, nowMs: number): string {
  return `(${exitCode ?? '?'})${finishedMs === undefined ? '' : ` ${formatAgo(finishedMs, nowMs)}`}`
}

type Port = ContainerSummary['ports'][number]

/** `0.0.0.0:8080->80/tcp, 127.0.0.1:90-92->90-92/udp`: neighbours as one; none of a container that does not live. */
function portsText({ ports, status }: ContainerSummary): string {
  if (status === 'stopped' || status === 'created') return ''
  const place = ({ protocol, hostIp = '0.0.0.0' }: Port): string => `${hostIp} ${protocol}`
  const sorted = ports.toSorted(
    (a, b) =>
      a.containerPort - b.containerPort ||
      (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0) ||
      a.hostPort - b.hostPort,
  )
  const runs: { first: Port; last: Port }[] = []
  for (const port of sorted) {
    const run = runs.find(
      ({ last }) =>
        place(last) === place(port) &&
        last.containerPort + 1 === port.containerPort &&
        last.hostPort + 1 === port.hostPort,
    )
    if (run === undefined) runs.push({ first: port, last: port })
    else run.last = port
  }
  return runs.map(({ first, last }) => portText(first, last)).join(', ')
}

function portText(first: Port, last: Port): string {
  const { hostIp = '0.0.0.0', protocol } = first
  const range = (from: number, to: number): string => (from === to ? String(from) : `${from}-${to}`)
  const outside = range(first.hostPort, last.hostPort)
  const inside = range(first.containerPort, last.containerPort)
  return `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:${outside}->${inside}/${protocol}`
}
