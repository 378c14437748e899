import type { ContainerFilter, ContainerStatus } from '../../engine/api.ts'
import { badFlag } from '../errors.ts'
import { parseInteger } from './numbers.ts'

/** docker's words for the states, `exited` among them. */
const STATUSES: ReadonlyMap<string, ContainerStatus> = new Map([
  ['created', 'created'],
  ['running', 'running'],
  ['paused', 'paused'],
  ['exited', 'stopped'],
  ['stopped', 'stopped'],
])

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** `key=value` each; values of one key are alternatives. Throws USAGE. */
export function parseContainerFilter(values: readonly string[]): ContainerFilter {
  const filter: Mutable<ContainerFilter> = {}
  for (const text of values) {
    const equals = text.indexOf('=')
    const key = text.slice(0, Math.max(equals, 0)).toLowerCase()
    const value = text.slice(equals + 1)
    if (key === '' || value === '') throw badFlag('filter', text, 'not KEY=VALUE', 'e.g. status=exited')
    if (key === 'id' || key === 'name' || key === 'label' || key === 'ancestor' || key === 'volume') {
      filter[key] = [...(filter[key] ?? []), value]
    } else if (key === 'status') {
      const status = STATUSES.get(value.toLowerCase())
      if (status === undefined) throw badFlag('filter', text, 'unknown status', [...STATUSES.keys()].join(', '))
      filter.status = [...(filter.status ?? []), status]
    } else if (key === 'exited')
      filter.exited = [...(filter.exited ?? []), parseInteger('filter', value, { min: 0, max: 255, within: text })]
    else
      throw badFlag(
        'filter',
        text,
        `unknown key ${JSON.stringify(key)}`,
        'id, name, label, status, ancestor, exited or volume',
      )
  }
  return filter
}
