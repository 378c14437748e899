import type { NetworkFilter } from '../../engine/networks/filter.ts'
import { badFlag } from '../errors.ts'
import { parseBool } from '../pflag.ts'
import { parseMoment } from './times.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const KEYS = 'name, id, driver, label, label!, internal, dangling or until'
const DRIVERS = ['bridge', 'macvlan', 'ipvlan', 'none'] as const

/** `key=value` each; `label!=` wants it not. Throws USAGE. */
export function parseNetworkFilter(values: readonly string[], nowMs: number): NetworkFilter {
  const filter: Mutable<NetworkFilter> = {}
  for (const text of values) {
    const [, key = '', value = ''] = /^([a-z]+!?)=(.+)$/i.exec(text) ?? []
    switch (key.toLowerCase()) {
      case '':
        throw badFlag('filter', text, 'not KEY=VALUE', 'e.g. driver=bridge')
      case 'name':
      case 'id':
      case 'label': {
        const list = key.toLowerCase() as 'name' | 'id' | 'label'
        filter[list] = [...(filter[list] ?? []), value]
        break
      }
      case 'label!':
        filter.withoutLabel = [...(filter.withoutLabel ?? []), value]
        break
      case 'driver': {
        const driver = DRIVERS.find((known) => known === value)
        if (driver === undefined) throw badFlag('filter', text, 'unknown driver', DRIVERS.join(', '))
        filter.driver = [...(filter.driver ?? []), driver]
        break
      }
      case 'internal':
      case 'dangling':
        filter[key.toLowerCase() as 'internal' | 'dangling'] = truth(text, value)
        break
      case 'until':
        filter.untilMs = parseMoment('filter', value, nowMs)
        break
      default:
        throw badFlag('filter', text, `unknown key ${JSON.stringify(key)}`, KEYS)
    }
  }
  return filter
}

function truth(text: string, value: string): boolean {
  const parsed = parseBool(value)
  if (parsed === undefined) throw badFlag('filter', text, 'neither true nor false')
  return parsed
}
