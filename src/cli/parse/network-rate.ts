import type { NetworkRate } from '../../model/network.ts'
import { badFlag } from '../errors.ts'

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 }
const EXAMPLES = 'bits a second into and out of the container, e.g. 10M, 10M/2M, or /2M for out alone'
/** Below, a packet takes longer than a connection waits for it. */
const LEAST = 8000
const MOST = 1e12

/** `--network-rate IN[/OUT]`. Throws USAGE. */
export function parseNetworkRate(value: string): NetworkRate {
  const [first = '', second, more] = value.split('/')
  if (more !== undefined || (first === '' && (second ?? '') === ''))
    throw badFlag('network-rate', value, 'not rates', EXAMPLES)
  const ingress = first === '' ? undefined : bits(value, first)
  const egress = second === undefined || second === '' ? undefined : bits(value, second)
  return {
    ...(ingress === undefined ? {} : { in: ingress }),
    ...(egress === undefined ? {} : { out: egress }),
  }
}

function bits(value: string, part: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:bit)?$/i.exec(part)
  if (match === null) throw badFlag('network-rate', value, `${JSON.stringify(part)} is no rate`, EXAMPLES)
  const rate = Math.round(Number(match[1]) * (UNITS[(match[2] ?? '').toLowerCase()] ?? 1))
  if (rate >= LEAST && rate <= MOST) return rate
  throw badFlag('network-rate', value, `${part} is not between 8k and 1000G`, EXAMPLES)
}
