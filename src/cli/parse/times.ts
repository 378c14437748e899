import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'

const UNITS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, ns: 0.000001 } as const
const PART = /([0-9]+(?:\.[0-9]+)?)(ms|us|ns|h|m|s)/g

/** A moment in milliseconds since 1970: RFC 3339, seconds since 1970, or how long before `nowMs` (`1h30m`). Throws USAGE. */
export function parseMoment(flag: string, text: string, nowMs: number): number {
  if (/^[0-9]+(?:\.[0-9]+)?$/.test(text)) return Number(text) * 1000
  const duration = durationMs(text)
  if (duration !== undefined) return nowMs - duration
  const date = /^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(date)) return date
  throw badFlag(flag, text, 'no time', '2026-01-02T03:04:05Z, seconds since 1970, or 10m for ten minutes ago')
}

/** The moment of a flag that may be absent. Throws USAGE. */
export function optionalMoment(flags: FlagValues, flag: string, nowMs: number): number | undefined {
  const text = flags.text(flag) ?? ''
  return text === '' ? undefined : parseMoment(flag, text, nowMs)
}

/** Go's notation: `1h30m`, `1.5s`; undefined for anything else. */
export function durationMs(text: string): number | undefined {
  const parts = [...text.matchAll(PART)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit as keyof typeof UNITS], 0)
}

/** `ctrl-p,ctrl-q`: the bytes these keys send. Throws USAGE. */
export function parseDetachKeys(text: string): string {
  if (text === '') return ''
  const bytes = text.split(',').map((key) => {
    const [, control] = /^ctrl-([a-z@[\\\]^_])$/i.exec(key) ?? []
    if (control !== undefined) return String.fromCharCode(control.toUpperCase().charCodeAt(0) & 0x1f)
    if (/^[\x21-\x7e]$/.test(key)) return key
    throw badFlag('detach-keys', text, `no key: ${key}`, 'letters, or ctrl- and a letter, separated by commas')
  })
  if (bytes.length > 16) throw badFlag('detach-keys', text, 'too long', 'at most 16 keys')
  return bytes.join('')
}
