import { CAPABILITIES } from '../../security/capabilities.ts'
import type { ProcessFacts } from './process.ts'

/** `00:01:02`, `2-03:04:05`: processor time as ps(1) writes it. */
export function cpuTime(seconds: number): string {
  const [days, hours, minutes, rest] = parts(seconds)
  return `${days > 0 ? `${days}-` : ''}${two(hours)}:${two(minutes)}:${two(rest)}`
}

/** `01:02`, `03:04:05`, `2-03:04:05`. */
export function elapsed(seconds: number): string {
  const [days, hours, minutes, rest] = parts(seconds)
  const day = days > 0 ? `${days}-` : ''
  return `${day}${days > 0 || hours > 0 ? `${two(hours)}:` : ''}${two(minutes)}:${two(rest)}`
}

function parts(seconds: number): [days: number, hours: number, minutes: number, seconds: number] {
  const whole = Math.floor(seconds)
  return [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60]
}

const two = (number: number): string => String(number).padStart(2, '0')

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')

/** `14:05` of today, `Nov20` of another day. */
export function startTime({ ageSeconds }: ProcessFacts, nowMs: number): string {
  const [then, now] = [new Date(nowMs - ageSeconds * 1000), new Date(nowMs)]
  if (then.toDateString() === now.toDateString()) return `${two(then.getHours())}:${two(then.getMinutes())}`
  if (then.getFullYear() !== now.getFullYear()) return String(then.getFullYear())
  return `${MONTHS[then.getMonth()]}${two(then.getDate())}`
}

/** Per cent of one processor, on the average of its life. */
export function cpuShare({ cpuSeconds, ageSeconds }: ProcessFacts): number {
  return ageSeconds > 0 ? (100 * cpuSeconds) / ageSeconds : 0
}

/** `pts/0`, `console`, or `?` (devices.txt of Linux: 136 to 143 are pseudo terminals). */
export function ttyName({ tty }: ProcessFacts): string {
  const [major, minor] = [(tty >> 8) & 0xfff, (tty & 0xff) | ((tty >> 12) & 0xfff00)]
  if (tty === 0) return '?'
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`
  return major === 5 && minor === 1 ? 'console' : `${major}:${minor}`
}

/** The state's letter and what ps(1) puts behind it. */
export function stateText({ state, nice, pid, session, threads, pgid, foreground }: ProcessFacts): string {
  const priority = nice < 0 ? '<' : nice > 0 ? 'N' : ''
  return `${state}${priority}${session === pid ? 's' : ''}${threads > 1 ? 'l' : ''}${pgid === foreground ? '+' : ''}`
}

/** The command with its words; in brackets the name of one that has none. */
export function commandLine({ args, comm }: ProcessFacts): string {
  return args.length === 0 ? `[${comm}]` : args.join(' ')
}

/** `CHOWN,KILL`, `full`, `none`. */
export function capabilityNames({ capabilities }: ProcessFacts, set: string): string {
  const mask = BigInt(`0x${capabilities[set] ?? '0'}`)
  const names = CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n)
  if (names.length === 0) return 'none'
  return names.length === CAPABILITIES.length ? 'full' : names.map((name) => name.replace(/^CAP_/, '')).join(',')
}
