import type { OciDeviceRule } from '../../model/config.ts'
import type { Property } from './properties.ts'

/** Rules as OCI has them: type, and numbers of which undefined is any. */
interface Entry {
  readonly type: 'b' | 'c'
  readonly major: number | undefined
  readonly minor: number | undefined
  readonly access: string
}

const ALL = 'rwm'

/**
 * The device rules as far as systemd can say them: what is allowed, and never less than the rules allow, since the
 * container's own filter (devices.ts) decides beside it and is exact. Where everything is allowed systemd filters nothing.
 */
export function deviceProperties(rules: readonly OciDeviceRule[]): Property[] {
  let allowed = new Map<string, Entry>()
  for (const rule of rules) {
    for (const entry of entriesOf(rule)) {
      if (rule.allow) allow(allowed, entry)
      else allowed = denied(allowed, entry)
    }
  }
  const everything = (['b', 'c'] as const).every((type) => allowed.get(keyOf({ type }))?.access === ALL)
  const list = everything ? [] : [...allowed.values()].map((entry) => [patternOf(entry), entry.access])
  return [
    { name: 'DevicePolicy', value: { signature: 's', value: everything ? 'auto' : 'strict' } },
    { name: 'DeviceAllow', value: { signature: 'a(ss)', value: list } },
  ]
}

function entriesOf({ type = 'a', major, minor, access = '' }: OciDeviceRule): Entry[] {
  const numbers = { major: numberOf(major), minor: numberOf(minor) }
  const kinds = [...ALL].filter((kind) => access === '' || access.includes(kind)).join('')
  return (['b', 'c'] as const)
    .filter((own) => type === 'a' || type === own)
    .map((own) => ({ type: own, ...numbers, access: kinds }))
}

/** -1 is how some tools write a wildcard. */
function numberOf(value: number | undefined): number | undefined {
  return value === -1 ? undefined : value
}

function allow(allowed: Map<string, Entry>, entry: Entry): void {
  const before = allowed.get(keyOf(entry))?.access ?? ''
  const access = [...ALL].filter((kind) => before.includes(kind) || entry.access.includes(kind)).join('')
  allowed.set(keyOf(entry), { ...entry, access })
}

/** Without what `entry` covers whole; what it covers in part stays. */
function denied(allowed: ReadonlyMap<string, Entry>, entry: Entry): Map<string, Entry> {
  const left = [...allowed].map(([key, other]): [string, Entry] => {
    const covers =
      entry.type === other.type &&
      (entry.major === undefined || entry.major === other.major) &&
      (entry.minor === undefined || entry.minor === other.minor)
    const access = covers ? [...other.access].filter((kind) => !entry.access.includes(kind)).join('') : other.access
    return [key, { ...other, access }]
  })
  return new Map(left.filter(([, { access }]) => access !== ''))
}

function keyOf({
  type,
  major,
  minor,
}: {
  type: string
  major?: number | undefined
  minor?: number | undefined
}): string {
  return `${type} ${major ?? '*'}:${minor ?? '*'}`
}

/**
 * systemd.resource-control(5): a device by its numbers needs no node, a number after `char-` is a major one (both since
 * systemd 240). A minor number alone has no form, so all of the type are allowed.
 */
function patternOf({ type, major, minor }: Entry): string {
  const kind = type === 'b' ? 'block' : 'char'
  if (major === undefined) return `${kind}-*`
  return minor === undefined ? `${kind}-${major}` : `/dev/${kind}/${major}:${minor}`
}
