import type { JoinOption, NamespaceOption, NamespaceOptions } from '../../model/run-options.ts'
import type { FlagValues } from '../command.ts'
import { badFlag, notYet } from '../errors.ts'
import { parseInteger } from './numbers.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The six namespace flags other than the network's. Throws USAGE. */
export function parseNamespaces(flags: FlagValues): NamespaceOptions {
  const namespaces: Mutable<NamespaceOptions> = {}
  for (const [flag, key] of [
    ['pid', 'pid'],
    ['ipc', 'ipc'],
    ['uts', 'uts'],
    ['cgroupns', 'cgroup'],
  ] as const) {
    const text = flags.text(flag)
    if (text) namespaces[key] = parseNamespace(flag, text)
  }
  const user = flags.text('userns')
  if (user) namespaces.user = parseUserNamespace(user)
  const time = flags.text('timens')
  if (time && time !== 'host') namespaces.time = parseTimeOffsets(time)
  return namespaces
}

function parseNamespace(flag: string, text: string): NamespaceOption {
  if (text === 'host') return 'host'
  if (text === 'private' || text === 'new') return 'new'
  // docker's word for a private one that others may join.
  if (flag === 'ipc' && text === 'shareable') return 'new'
  if ((flag === 'ipc' && text === 'none') || text === 'pod') throw notYet(flag, text)
  return joined(flag, text) ?? unknownMode(flag, text, 'private, host, container:NAME or ns:PATH')
}

function parseUserNamespace(text: string): 'auto' | 'host' | JoinOption {
  // Every private user namespace has a range of its own here.
  if (text === 'auto' || text === 'private') return 'auto'
  if (text === 'host') return 'host'
  const wanted = 'auto, host, container:NAME or ns:PATH'
  if (/^(?:auto:|keep-id|nomap)/.test(text)) throw notYet('userns', text, wanted)
  return joined('userns', text) ?? unknownMode('userns', text, wanted)
}

/** `boottime=3600,monotonic=-5` (time_namespaces(7)), seconds; `private` is no offsets. Throws USAGE. */
export function parseTimeOffsets(text: string): NonNullable<NamespaceOptions['time']> {
  const offsets: { boottime?: number; monotonic?: number } = {}
  if (text === 'private') return offsets
  for (const part of text.split(',')) {
    const [key, value] = part.split('=')
    if ((key !== 'boottime' && key !== 'monotonic') || value === undefined) {
      throw badFlag('timens', text, 'not private, host or offsets', 'e.g. boottime=3600,monotonic=3600')
    }
    // The kernel keeps clocks below KTIME_SEC_MAX / 2, about 146 years.
    offsets[key] = parseInteger('timens', value, { min: -4_600_000_000, max: 4_600_000_000, within: text })
  }
  return offsets
}

/** `container:NAME` or `ns:PATH`; undefined for anything else. */
export function joined(flag: string, text: string): JoinOption | undefined {
  if (text.startsWith('container:')) {
    const container = text.slice('container:'.length)
    if (container !== '') return { container }
    throw badFlag(flag, text, 'the container is missing', 'e.g. container:web')
  }
  if (!text.startsWith('ns:')) return undefined
  const path = text.slice(3)
  if (!path.startsWith('/'))
    throw badFlag(flag, text, 'the path of a namespace begins with /', 'e.g. ns:/proc/1234/ns/net')
  return { path }
}

function unknownMode(flag: string, text: string, wanted: string): never {
  throw badFlag(flag, text, 'unknown mode', wanted)
}
