import type { ImageSummary } from '../../engine/api.ts'
import { formatBytes } from '../../model/units.ts'
import { formatAgo, formatMoment } from './relative-time.ts'

/** Headings by template field, as docker has them. */
export const IMAGE_HEADINGS = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
} as const

export type ImageRow = Readonly<Record<keyof typeof IMAGE_HEADINGS, string>>

export interface RowOptions {
  /** Milliseconds since 1970. */
  readonly nowMs: number
  readonly noTrunc: boolean
}

export function imageRow(image: ImageSummary, options: RowOptions): ImageRow {
  return {
    Repository: image.repository === undefined ? '<none>' : shortName(image.repository),
    Tag: image.tag ?? '<none>',
    Digest: image.digest,
    ID: options.noTrunc ? image.id : image.id.replace(/^sha256:/, '').slice(0, 12),
    CreatedSince: image.createdMs === undefined ? 'N/A' : formatAgo(image.createdMs, options.nowMs),
    CreatedAt: image.createdMs === undefined ? 'N/A' : formatMoment(image.createdMs),
    Size: formatSize(image.size),
  }
}

/** `12.3MB`: docker leaves the blank out. */
export function formatSize(bytes: number): string {
  return formatBytes(bytes).replace(' ', '')
}

/** `docker.io/library/alpine` -> `alpine`, `docker.io/me/app` -> `me/app`: what a user types for it. */
export function shortName(name: string): string {
  return name.replace(/^docker\.io\/(?:library\/(?=[^/]+$))?/, '')
}

/** Whether an image is meant by what was typed: `alpine`, `alpine:3`, `docker.io/library/alpine`. */
export function imageMatches(image: ImageSummary, typed: string): boolean {
  if (image.repository === undefined) return false
  const names = [image.repository, shortName(image.repository)]
  return names.some((name) => typed === name || (image.tag !== undefined && typed === `${name}:${image.tag}`))
}
