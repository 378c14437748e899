import { type ImageStore, noSuchImage } from '../../images/store.ts'
import type { ImageSummary } from '../api.ts'

/** Which images of a store: everything that is given must hold. */
export interface ImageFilter {
  /** Without a name, or with one. */
  readonly dangling?: boolean
  /** One of them: `alpine`, `*:3`, `example.com/*`; a star stands for what has no slash. */
  readonly reference?: readonly string[]
  /** `KEY` or `KEY=VALUE`: all of them. */
  readonly label?: readonly string[]
  /** None of them. */
  readonly withoutLabel?: readonly string[]
  /** Beginnings of ids, one of which it has. */
  readonly id?: readonly string[]
  /** Made before or after this image. */
  readonly before?: string
  readonly since?: string
  /** Made before, milliseconds since 1970. */
  readonly untilMs?: number
}

/** A test of one name of the store. Throws NO_SUCH_IMAGE for an image that others are compared with. */
export function imageTest(store: ImageStore, filter: ImageFilter): (image: ImageSummary) => boolean {
  const createdOf = (name: string): number => {
    const image = store.find(name)
    if (image === undefined) throw noSuchImage(name)
    return madeAt(image.created === undefined ? Number.NaN : Date.parse(image.created))
  }
  const before = filter.before === undefined ? undefined : createdOf(filter.before)
  const since = filter.since === undefined ? undefined : createdOf(filter.since)
  const references = filter.reference?.map(referencePattern)
  return (image) => {
    const created = madeAt(image.createdMs ?? Number.NaN)
    return (
      (filter.dangling === undefined || filter.dangling === (image.repository === undefined)) &&
      (references === undefined || namesOf(image).some((name) => references.some((pattern) => pattern.test(name)))) &&
      (filter.id === undefined ||
        filter.id.some((id) => image.id.replace('sha256:', '').startsWith(id.replace('sha256:', '')))) &&
      (filter.label ?? []).every((label) => hasLabel(image, label)) &&
      !(filter.withoutLabel ?? []).some((label) => hasLabel(image, label)) &&
      (before === undefined || created < before) &&
      (since === undefined || created > since) &&
      (filter.untilMs === undefined || created < filter.untilMs)
    )
  }
}

/** One that does not say counts as very old. */
function madeAt(createdMs: number): number {
  return Number.isNaN(createdMs) ? 0 : createdMs
}

/** Every way to write its name: with its tag or without, from any component on. */
function namesOf({ repository, tag }: ImageSummary): readonly string[] {
  if (repository === undefined) return []
  const parts = repository.split('/')
  const names = parts.map((_, index) => parts.slice(index).join('/'))
  return tag === undefined ? names : [...names, ...names.map((name) => `${name}:${tag}`)]
}

/** A pattern of path.Match as docker has it: `*`, `?`, `[a-z]`. */
function referencePattern(text: string): RegExp {
  const parts = text.match(/\[[^\]]*\]|[\s\S]/g) ?? []
  const source = parts.map((part) => {
    if (part === '*') return '[^/]*'
    if (part === '?') return '[^/]'
    if (part.length > 1) return part.replace(/\\/g, '\\\\')
    return part.replace(/[\\^$.|+(){}[\]]/, '\\$&')
  })
  return new RegExp(`^${source.join('')}$`)
}

function hasLabel({ labels = {} }: ImageSummary, label: string): boolean {
  const equals = label.indexOf('=')
  const key = equals < 0 ? label : label.slice(0, equals)
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === label.slice(equals + 1))
}
