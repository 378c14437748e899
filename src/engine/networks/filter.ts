import type { NetworkDriver } from '../../model/network.ts'
import type { NetworkView } from './verbs.ts'

/** Each list is "any of", but for labels; all that is given must hold. */
export interface NetworkFilter {
  /** Parts of names. */
  readonly name?: readonly string[]
  /** Beginnings of ids. */
  readonly id?: readonly string[]
  readonly driver?: readonly NetworkDriver[]
  /** `key` or `key=value`: all of them. */
  readonly label?: readonly string[]
  /** None of them. */
  readonly withoutLabel?: readonly string[]
  readonly internal?: boolean
  /** No container has it. */
  readonly dangling?: boolean
  /** Made before, milliseconds since 1970. */
  readonly untilMs?: number
}

export function matchesNetwork(network: NetworkView, filter: NetworkFilter): boolean {
  const { name, id, driver, label = [], withoutLabel = [], internal, dangling, untilMs } = filter
  const any = <T>(list: readonly T[] | undefined, test: (wanted: T) => boolean): boolean =>
    list === undefined || list.some(test)
  return (
    any(name, (part) => network.name.includes(part)) &&
    any(id, (beginning) => network.id.startsWith(beginning)) &&
    any(driver, (wanted) => network.driver === wanted) &&
    label.every((text) => hasLabel(network, text)) &&
    !withoutLabel.some((text) => hasLabel(network, text)) &&
    (internal === undefined || network.internal === internal) &&
    (dangling === undefined || (network.containers.length === 0) === dangling) &&
    (untilMs === undefined || network.createdMs < untilMs)
  )
}

function hasLabel({ labels }: NetworkView, text: string): boolean {
  const [key = '', ...value] = text.split('=')
  return Object.hasOwn(labels, key) && (value.length === 0 || labels[key] === value.join('='))
}
