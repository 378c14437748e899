import type { VolumeFilter } from '../../engine/volumes/verbs.ts'
import { badFlag } from '../errors.ts'
import { parseBool } from '../pflag.ts'
import { parseMoment } from './times.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** `key=value` each; `label!=` wants it not. Throws USAGE. */
export function parseVolumeFilter(values: readonly string[], nowMs: number): VolumeFilter {
  const filter: Mutable<VolumeFilter> = {}
  for (const text of values) {
    const [, key = '', value = ''] = /^([a-z]+!?)=(.+)$/i.exec(text) ?? []
    switch (key.toLowerCase()) {
      case '':
        throw badFlag('filter', text, 'not KEY=VALUE', 'e.g. dangling=true')
      case 'name':
        filter.name = [...(filter.name ?? []), value]
        break
      case 'label':
        filter.label = [...(filter.label ?? []), value]
        break
      case 'label!':
        filter.withoutLabel = [...(filter.withoutLabel ?? []), value]
        break
      case 'driver':
        filter.driver = [...(filter.driver ?? []), value]
        break
      case 'dangling':
        filter.dangling = truth(text, value)
        break
      case 'anonymous':
        filter.anonymous = truth(text, value)
        break
      case 'until':
        filter.untilMs = parseMoment('filter', value, nowMs)
        break
      default:
        throw badFlag(
          'filter',
          text,
          `unknown key ${JSON.stringify(key)}`,
          'name, label, dangling, anonymous, driver or until',
        )
    }
  }
  return filter
}

function truth(text: string, value: string): boolean {
  const parsed = parseBool(value)
  if (parsed === undefined) throw badFlag('filter', text, 'neither true nor false')
  return parsed
}
