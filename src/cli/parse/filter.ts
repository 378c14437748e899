import type { ContainerFilter, ContainerStatus } from '../../engine/api.ts'
import type { EventFilter } from '../../engine/events/events.ts'
import { badFlag } from '../errors.ts'
import { parseInteger } from './numbers.ts'
import { parseMoment } from './times.ts'

/** docker's words for the states, `exited` among them. */
const STATUSES: ReadonlyMap<string, ContainerStatus> = new Map([
  ['created', 'created'],
  ['running', 'running'],
  ['paused', 'paused'],
  ['restarting', 'restarting'],
  ['exited', 'stopped'],
  ['stopped', 'stopped'],
])

const PLAIN_KEYS = ['id', 'name', 'label', 'ancestor', 'before', 'since', 'volume', 'network'] as const
/** docker's states that no container here is ever in: they choose none. */
const NEVER = ['removing', 'dead']
const POLICIES = ['no', 'on-failure', 'always', 'unless-stopped'] as const
const HEALTH = ['starting', 'healthy', 'unhealthy', 'none'] as const

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** `key=value` each; values of one key are alternatives. Throws USAGE. */
export function parseContainerFilter(values: readonly string[]): ContainerFilter {
  const filter: Mutable<ContainerFilter> = {}
  for (const text of values) {
    const [key, value] = splitFilter(text, 'status=exited')
    const plain = PLAIN_KEYS.find((name) => name === key)
    if (plain !== undefined) {
      filter[plain] = [...(filter[plain] ?? []), value]
    } else if (key === 'status') {
      const status = STATUSES.get(value.toLowerCase())
      filter.status ??= []
      if (NEVER.includes(value.toLowerCase())) continue
      if (status === undefined) throw badFlag('filter', text, 'unknown status', [...STATUSES.keys()].join(', '))
      filter.status = [...(filter.status ?? []), status]
    } else if (key === 'restart-policy') {
      const policy = POLICIES.find((name) => name === value)
      if (policy === undefined) throw badFlag('filter', text, 'unknown policy', POLICIES.join(', '))
      filter.restartPolicy = [...(filter.restartPolicy ?? []), policy]
    } else if (key === 'should-start-on-boot') {
      if (value !== 'true' && value !== 'false') throw badFlag('filter', text, 'neither true nor false')
      filter.startsAtBoot = [...(filter.startsAtBoot ?? []), value === 'true']
    } else if (key === 'health') {
      const health = HEALTH.find((candidate) => candidate === value)
      if (health === undefined) throw badFlag('filter', text, 'unknown health', HEALTH.join(', '))
      filter.health = [...(filter.health ?? []), health]
    } else if (key === 'label!') {
      filter.noLabel = [...(filter.noLabel ?? []), value]
    } else if (key === 'until') {
      filter.untilMs = [...(filter.untilMs ?? []), parseMoment('filter', value, Date.now())]
    } else if (key === 'publish') {
      filter.publish = [...(filter.publish ?? []), parsePublished(value, text)]
    } else if (key === 'exited')
      filter.exited = [...(filter.exited ?? []), parseInteger('filter', value, { min: 0, max: 255, within: text })]
    else
      throw badFlag(
        'filter',
        text,
        `unknown key ${JSON.stringify(key)}`,
        `${PLAIN_KEYS.join(', ')}, label!, until, status, exited, health, publish, restart-policy or should-start-on-boot`,
      )
  }
  return filter
}

/** `80`, `80/udp`, `8000-8080/tcp`: ports of the container. */
function parsePublished(value: string, text: string): NonNullable<ContainerFilter['publish']>[number] {
  const [, first = '', last = first, protocol = 'tcp'] = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(value) ?? []
  const port = (digits: string): number => parseInteger('filter', digits, { min: 1, max: 65_535, within: text })
  return { protocol: protocol as 'tcp' | 'udp' | 'sctp', first: port(first), last: port(last) }
}

const EVENT_KEYS = ['container', 'event', 'image', 'label', 'type', 'volume', 'network'] as const

/** The same for events. Throws USAGE. */
export function parseEventFilter(values: readonly string[]): EventFilter {
  const filter: Mutable<EventFilter> = {}
  for (const text of values) {
    const [key, value] = splitFilter(text, 'event=die')
    const known = EVENT_KEYS.find((name) => name === key)
    if (known === undefined) throw badFlag('filter', text, `unknown key ${JSON.stringify(key)}`, EVENT_KEYS.join(', '))
    filter[known] = [...(filter[known] ?? []), value]
  }
  return filter
}

function splitFilter(text: string, example: string): readonly [key: string, value: string] {
  const equals = text.indexOf('=')
  const key = text.slice(0, Math.max(equals, 0)).toLowerCase()
  const value = text.slice(equals + 1)
  if (key === '' || value === '') throw badFlag('filter', text, 'not KEY=VALUE', `e.g. ${example}`)
  return [key, value]
}
