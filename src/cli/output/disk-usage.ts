import type { DiskUsage, Totals } from '../../engine/system/usage.ts'
import { statusText } from './containers.ts'
import { formatListing } from './format.ts'
import { formatSize, shortName } from './images.ts'
import { formatAgo } from './relative-time.ts'

const HEADINGS = {
  Type: 'TYPE',
  TotalCount: 'TOTAL',
  Active: 'ACTIVE',
  Size: 'SIZE',
  Reclaimable: 'RECLAIMABLE',
} as const

/** docker's table, and its `--format`. Throws USAGE. */
export function formatUsage({ images, containers, volumes }: DiskUsage, format: string | undefined): Promise<string> {
  const rows = [rowOf('Images', images), rowOf('Containers', containers), rowOf('Local Volumes', volumes)]
  return formatListing(
    { headings: HEADINGS, columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'], rows },
    format,
  )
}

function rowOf(
  type: string,
  { list, active, bytes, reclaimableBytes }: Totals & { readonly list: readonly unknown[] },
): Readonly<Record<keyof typeof HEADINGS, string>> {
  const percent = bytes === 0 ? '' : ` (${Math.round((reclaimableBytes / bytes) * 100)}%)`
  return {
    Type: type,
    TotalCount: String(list.length),
    Active: String(active),
    Size: formatSize(bytes),
    Reclaimable: `${formatSize(reclaimableBytes)}${percent}`,
  }
}

const IMAGES = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  Size: 'SIZE',
  SharedSize: 'SHARED SIZE',
  UniqueSize: 'UNIQUE SIZE',
  Containers: 'CONTAINERS',
} as const
const CONTAINERS = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  LocalVolumes: 'LOCAL VOLUMES',
  Size: 'SIZE',
  RunningFor: 'CREATED',
  Status: 'STATUS',
  Names: 'NAMES',
} as const
const VOLUMES = { Name: 'VOLUME NAME', Links: 'LINKS', Size: 'SIZE' } as const

/** Each image, container and volume; as `json` one object with the three lists. Throws USAGE. */
export async function formatUsageList(usage: DiskUsage, format: string | undefined, nowMs: number): Promise<string> {
  const images = usage.images.list.flatMap((image) => {
    const common = {
      ID: image.id.replace(/^sha256:/, '').slice(0, 12),
      CreatedSince: image.createdMs === undefined ? 'N/A' : formatAgo(image.createdMs, nowMs),
      Size: formatSize(image.bytes),
      SharedSize: formatSize(image.sharedBytes),
      UniqueSize: formatSize(image.bytes - image.sharedBytes),
      Containers: String(image.containers),
    }
    const names = image.names.length === 0 ? ['<none>:<none>'] : image.names
    return names.map((name) => ({ ...nameOf(name), ...common }))
  })
  const containers = usage.containers.list.map((container) => ({
    ID: container.id.slice(0, 12),
    Image: shortName(container.image),
    Command: JSON.stringify(container.command.join(' ')),
    LocalVolumes: String(container.volumes),
    Size: formatSize(container.bytes),
    RunningFor: formatAgo(container.createdMs, nowMs),
    Status: statusText(container, nowMs),
    Names: container.name,
  }))
  const volumes = usage.volumes.list.map((volume) => ({
    Name: volume.name,
    Links: String(volume.containers),
    Size: formatSize(volume.bytes),
  }))
  if (format === 'json') return `${JSON.stringify({ Images: images, Containers: containers, Volumes: volumes })}\n`
  const sections = [
    ['Images space usage', await table(IMAGES, images)],
    ['Containers space usage', await table(CONTAINERS, containers)],
    ['Local Volumes space usage', await table(VOLUMES, volumes)],
  ]
  return sections.map(([heading, text]) => `${heading}:\n\n${text}`).join('\n')
}

function nameOf(name: string): { readonly Repository: string; readonly Tag: string } {
  const [, repository = name, tag = '<none>'] = /^(.*?)(?::([^/:@]+))?(?:@.*)?$/.exec(name) ?? []
  return { Repository: shortName(repository), Tag: tag }
}

function table<Field extends string>(
  headings: Readonly<Record<Field, string>>,
  rows: readonly Readonly<Record<Field, string>>[],
): Promise<string> {
  return formatListing({ headings, columns: Object.keys(headings) as Field[], rows }, undefined)
}
