import { TscrunError } from '../model/errors.ts'
import { formatReference, parseReference, type Reference } from '../model/reference.ts'
import type { RegistriesConf, RegistryRule } from './registries-conf.ts'

/** One place to ask for an image. */
export interface Endpoint {
  readonly reference: Reference
  /** Plain http and certificates nobody vouches for are allowed there. */
  readonly insecure: boolean
  readonly isMirror: boolean
}

/** The rule with the longest prefix that a name (registry/repository[:tag][@digest]) begins with. */
export function ruleFor(conf: RegistriesConf, name: string): RegistryRule | undefined {
  let best: RegistryRule | undefined
  for (const rule of conf.rules) {
    const isLonger = best === undefined || rule.prefix.length > best.prefix.length
    if (isLonger && matchedLength(rule.prefix, name) !== undefined) best = rule
  }
  return best
}

/** How many characters of the name a prefix stands for; undefined where it does not fit. */
function matchedLength(prefix: string, name: string): number | undefined {
  if (prefix.startsWith('*.')) {
    const slash = name.indexOf('/')
    const authority = slash < 0 ? name : name.slice(0, slash)
    const host = authority.replace(/:\d+$/, '')
    // All of the host with its port gives way to a location.
    return host.endsWith(prefix.slice(1)) && host.length > prefix.length - 1 ? authority.length : undefined
  }
  if (!name.startsWith(prefix)) return undefined
  const next = name.charAt(prefix.length)
  // `example.com` is not `example.com:5000`: a port belongs to the host.
  const isHostOnly = !prefix.includes('/')
  const ends = next === '' || next === '/' || (!isHostOnly && (next === ':' || next === '@'))
  return ends ? prefix.length : undefined
}

/**
 * Where an image is asked for, in this order: mirrors, then the place itself. Throws REGISTRY_BLOCKED.
 * Mirrors are for reading only: see `pushEndpoint`.
 */
export function endpointsFor(conf: RegistriesConf, reference: Reference): readonly Endpoint[] {
  const rule = checkedRule(conf, reference)
  if (rule === undefined) return [{ reference, insecure: false, isMirror: false }]
  const kind = reference.digest === undefined ? 'tag-only' : 'digest-only'
  const mirrors = rule.mirrors
    .filter(({ use }) => use === 'all' || use === kind)
    .map(
      ({ location, insecure }): Endpoint => ({
        reference: moved(reference, rule, location),
        insecure,
        isMirror: true,
      }),
    )
  return [...mirrors, { reference: moved(reference, rule, rule.location), insecure: rule.insecure, isMirror: false }]
}

/** Where an image is sent: neither mirrors nor other locations are written to. Throws REGISTRY_BLOCKED. */
export function pushEndpoint(conf: RegistriesConf, reference: Reference): Endpoint {
  const rule = checkedRule(conf, reference)
  return { reference, insecure: rule?.insecure ?? false, isMirror: false }
}

function checkedRule(conf: RegistriesConf, reference: Reference): RegistryRule | undefined {
  const rule = ruleFor(conf, formatReference(reference))
  if (rule?.blocked !== true) return rule
  throw blocked(`${reference.registry}/${reference.repository}`, rule)
}

/** The sentence for what registries.conf forbids. */
export function blocked(name: string, rule: RegistryRule): TscrunError {
  return new TscrunError('REGISTRY_BLOCKED', `image ${name}: blocked by ${rule.file}`, {
    subject: name,
    hint: `its [[registry]] table ${rule.prefix} says blocked = true`,
  })
}

function moved(reference: Reference, rule: RegistryRule, location: string): Reference {
  if (location === '' || location === rule.prefix) return reference
  const name = formatReference(reference)
  const target = parseReference(`${location}${name.slice(matchedLength(rule.prefix, name))}`)
  // A name by digest alone stays one.
  const { tag: _, ...untagged } = target
  return reference.tag === undefined && reference.digest !== undefined ? untagged : target
}
