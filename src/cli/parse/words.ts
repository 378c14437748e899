import type { PullPolicy } from '../../model/run-options.ts'
import { platformFor } from '../../images/host-platform.ts'
import { formatPlatform } from '../../model/platform.ts'
import { completeSignal } from '../../model/kernel-names.ts'
import { badFlag, notYet } from '../errors.ts'
import { parseOctal } from './numbers.ts'

/** Podman's rule, which is docker's with one letter allowed. Throws USAGE. */
export function parseName(text: string): string {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text) && text.length <= 255) return text
  throw badFlag('name', text, 'not a container name', 'letters, digits, _ . - and a letter or digit first')
}

/** 64 bytes is the kernel's limit (sethostname(2)); a newline would reach /etc/hosts. Throws USAGE. */
export function parseHostname(text: string): string {
  if (/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(text) && text.length <= 64) return text
  throw badFlag('hostname', text, text.length > 64 ? 'longer than 64 characters' : 'not a host name')
}

/** `name:ip`, docker's newer `name=ip`, podman's `a;b:ip`; an IPv6 address may stand in brackets. Throws USAGE. */
export function parseAddHost(text: string): string[] {
  const at = text.search(/[:=]/)
  const names = text.slice(0, Math.max(at, 0)).split(';')
  const address = text.slice(at + 1).replace(/^\[(.*)\]$/, '$1')
  const validNames = names.every((name) => /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)$/.test(name))
  if (at < 0 || !validNames) throw badFlag('add-host', text, 'not HOST:IP', 'e.g. db:10.0.0.5')
  if (address !== 'host-gateway' && !isAddress(address)) {
    throw badFlag('add-host', text, `${JSON.stringify(address)} is not an IP address`, 'or host-gateway')
  }
  return names.map((name) => `${name}:${address}`)
}

/** Throws USAGE. */
export function parseDns(text: string): string {
  if (isAddress(text)) return text
  throw badFlag('dns', text, 'not an IP address')
}

/** A domain for resolv.conf; `.` alone means none. Throws USAGE. */
export function parseDnsSearch(text: string): string {
  if (/^[A-Za-z0-9_.-]{1,253}$/.test(text)) return text
  throw badFlag('dns-search', text, 'not a domain')
}

/** As in resolv.conf(5): `ndots:2`. Throws USAGE. */
export function parseDnsOption(text: string): string {
  if (/^[a-z0-9-]+(?::[0-9]+)?$/.test(text)) return text
  throw badFlag('dns-option', text, 'not an option of resolv.conf', 'e.g. ndots:2')
}

/** Whether a text is an IPv4 or IPv6 address, without a zone. The same answer as node:net's isIP. */
export function isAddress(text: string): boolean {
  const octet = /^(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$/
  const isV4 = (part: string): boolean =>
    part.split('.').length === 4 && part.split('.').every((digits) => octet.test(digits))
  if (!text.includes(':')) return isV4(text)
  const halves = text.split('::')
  if (halves.length > 2) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  let count = groups.length
  if (groups.at(-1)?.includes('.')) {
    if (text.endsWith('::') || !isV4(groups.pop() ?? '')) return false
    count += 1
  }
  return groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) && (halves.length === 2 ? count < 8 : count === 8)
}

/** A word, or a JSON array of strings; an empty word removes the image's entrypoint. Throws USAGE. */
export function parseEntrypoint(text: string): string[] {
  if (text === '') return []
  if (!text.startsWith('[')) return [text]
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return [text]
  }
  if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value
  throw badFlag('entrypoint', text, 'not an array of strings', `e.g. '["sh", "-c"]'`)
}

/** `user[:group]` or `:group`, names or numbers. Throws USAGE. */
export function parseUser(text: string): string {
  const [user, group = ''] = text.split(':')
  if (/^[^:\s\u0000-\u001f]*(?::[^:\s\u0000-\u001f]*)?$/.test(text) && (user !== '' || group !== '')) return text
  throw badFlag('user', text, 'not USER or USER:GROUP')
}

/** Throws USAGE. */
export function parseGroup(text: string): string {
  if (text === 'keep-groups') throw notYet('group-add', text)
  if (/^[^:\s\u0000-\u001f]+$/.test(text)) return text
  throw badFlag('group-add', text, 'not a group name or number')
}

/** Throws USAGE. */
export function parseWorkdir(text: string): string {
  if (text.startsWith('/')) return text
  throw badFlag('workdir', text, 'must begin with /')
}

/** Octal, up to 0777. Throws USAGE. */
export function parseUmask(text: string): number {
  const mask = parseOctal(text)
  if (mask === undefined || mask > 0o777) throw badFlag('umask', text, 'not an octal mask', 'e.g. 0022')
  return mask
}

/** Throws USAGE. */
export function parsePull(text: string): PullPolicy {
  if (text === 'missing' || text === 'always' || text === 'never' || text === 'newer') return text
  if (text === 'ifnotpresent' || text === '') return 'missing'
  if (text === 'ifnewer') return 'newer'
  throw badFlag('pull', text, 'unknown policy', 'missing, always, never or newer')
}

/** `linux/arm64`, `arm64`, `linux`, `linux/arm/v7`, in Go's names. Throws USAGE. */
export function parsePlatformFlag(text: string): string {
  const platform = platformFor(text)
  if (platform.os !== 'linux') throw badFlag('platform', text, 'only linux images can run here')
  return formatPlatform(platform)
}

/** `net.core.somaxconn=1024`, also with slashes; the engine says which belong to a namespace. Throws USAGE. */
export function parseSysctls(values: readonly string[]): Record<string, string> {
  const pairs = values.map((text): [string, string] => {
    const equals = text.indexOf('=')
    const key = text.slice(0, Math.max(equals, 0)).trim()
    // Every part begins with a letter or digit, so that no `..` can climb out of /proc/sys.
    if (!/^[a-z0-9_]+(?:[./][a-zA-Z0-9_][a-zA-Z0-9_:-]*)+$/.test(key))
      throw badFlag('sysctl', text, 'not NAME=VALUE', 'e.g. net.core.somaxconn=1024')
    return [key, text.slice(equals + 1).trim()]
  })
  return Object.fromEntries(pairs)
}

/** A name with or without `SIG`, or a number 1 to 64; real-time ones as `RTMIN+3`. Gives `SIGTERM`. Throws USAGE. */
export function parseSignal(flag: string, text: string): string {
  const name = completeSignal(text)
  if (name !== undefined) return name
  throw badFlag(flag, text, 'unknown signal', 'e.g. SIGTERM, INT or 15')
}
