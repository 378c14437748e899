import type { ImageFilter } from '../../engine/image-verbs/filter.ts'
import { badFlag } from '../errors.ts'
import { parseMoment } from './times.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const KEYS = 'dangling, reference, label, label!, id, before, since, until'

/** `--filter` of `images`. Throws USAGE. */
export function parseImageFilter(values: readonly string[], nowMs: number): ImageFilter {
  const filter: Mutable<ImageFilter> = {}
  for (const text of values) {
    const [, key = '', value = ''] = /^([a-z]+!?)=([\s\S]+)$/i.exec(text) ?? []
    switch (key) {
      case 'dangling':
        if (!/^(?:true|false|1|0)$/.test(value)) throw badFlag('filter', text, 'neither true nor false')
        filter.dangling = value === 'true' || value === '1'
        break
      case 'reference':
      case 'label':
      case 'id':
        filter[key] = [...(filter[key] ?? []), value]
        break
      case 'label!':
        filter.withoutLabel = [...(filter.withoutLabel ?? []), value]
        break
      case 'before':
        filter.before = value
        break
      // podman's other word.
      case 'since':
      case 'after':
        filter.since = value
        break
      case 'until':
        filter.untilMs = parseMoment('filter', value, nowMs)
        break
      case '':
        throw badFlag('filter', text, 'not KEY=VALUE', 'e.g. dangling=true')
      default:
        throw badFlag('filter', text, `unknown key ${JSON.stringify(key)}`, KEYS)
    }
  }
  return filter
}
