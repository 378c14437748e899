import type { Brand } from './brand.ts'

export type Bytes = Brand<number, 'Bytes'>

const SUFFIX: Record<string, number> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 }

/**
 * Bytes from docker's notation: a decimal number, then one of b k m g t p (powers of 1024; `kb`, `KiB` too).
 * Undefined where the text is no such size or exceeds 2^53-1.
 */
export function parseBytes(text: string): Bytes | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?) *([bkmgtp]?)(?:i?b)?$/i.exec(text)
  if (!match) return undefined
  const scale = SUFFIX[(match[2] ?? '').toLowerCase()]
  const value = Math.floor(Number(match[1]) * (scale ?? Number.NaN))
  return Number.isSafeInteger(value) ? (value as Bytes) : undefined
}

/** `12.3 MB`: powers of 1000, three significant digits, as docker prints sizes. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${Number(value.toPrecision(3))} ${units[unit]}`
}

/** `12.3MiB`: powers of 1024, four significant digits, as docker prints memory. */
export function formatBinary(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`
}
