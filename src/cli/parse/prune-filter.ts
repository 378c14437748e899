import type { PruneFilter } from '../../engine/system/prune.ts'
import { badFlag } from '../errors.ts'
import { parseMoment } from './times.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** `until=TIME`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`. Throws USAGE. */
export function parsePruneFilter(values: readonly string[], nowMs: number): PruneFilter {
  const filter: Mutable<PruneFilter> = {}
  for (const text of values) {
    const [, key = '', value = ''] = /^([a-z]+!?)=(.+)$/i.exec(text) ?? []
    if (key === 'until') filter.untilMs = parseMoment('filter', value, nowMs)
    else if (key === 'label') filter.label = [...(filter.label ?? []), value]
    else if (key === 'label!') filter.withoutLabel = [...(filter.withoutLabel ?? []), value]
    else if (key === '') throw badFlag('filter', text, 'not KEY=VALUE', 'e.g. until=24h')
    else throw badFlag('filter', text, `unknown key ${JSON.stringify(key)}`, 'until, label or label!')
  }
  return filter
}
