import { TscrunError } from '../../model/errors.ts'
import { parseGVariant } from './gvariant.ts'
import type { Property } from './properties.ts'
import type { DbusVariant } from './signature.ts'

/** Annotations that begin so set properties of the container's unit. */
export const UNIT_PROPERTY = 'org.systemd.property.'

/** Which processes the unit has and where it hangs is decided by who makes the container. */
const OURS = ['PIDs', 'Slice']

/**
 * The unit's properties that annotations `org.systemd.property.<Name>` ask for, their values in GVariant's text format,
 * as runc and crun read them. A name that ends with `Sec` is the documented one of a `USec` property: its number is
 * taken as seconds. Throws INVALID_CONFIG naming the annotation.
 */
export function annotationProperties(annotations: Readonly<Record<string, string>>): Property[] {
  return Object.entries(annotations)
    .filter(([key]) => key.startsWith(UNIT_PROPERTY))
    .map(([key, text]) => {
      const name = key.slice(UNIT_PROPERTY.length)
      const what = `annotations[${JSON.stringify(key)}]`
      if (!/^[A-Za-z]{3,}$/.test(name)) throw invalid(what, `${JSON.stringify(name)} is no name of a property`)
      if (OURS.includes(name)) throw invalid(what, 'set by the runtime itself')
      const value = parseGVariant(text, what)
      if (!/[a-z]Sec$/.test(name)) return { name, value }
      return { name: `${name.slice(0, -'Sec'.length)}USec`, value: microseconds(what, value) }
    })
}

function microseconds(what: string, { value }: DbusVariant): DbusVariant {
  const seconds = typeof value === 'bigint' ? value : undefined
  const scaled =
    seconds === undefined ? (typeof value === 'number' ? Math.round(value * 1e6) : Number.NaN) : seconds * 1_000_000n
  if (typeof scaled === 'number' && !Number.isSafeInteger(scaled)) throw invalid(what, 'no number of seconds')
  const result = BigInt(scaled)
  if (result < 0n || result >= 2n ** 64n) throw invalid(what, 'no number of seconds')
  return { signature: 't', value: result }
}

function invalid(what: string, reason: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `config.json: ${what}: ${reason}`, { subject: what })
}
