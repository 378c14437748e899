const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** `3 minutes`, `About an hour`, `2 weeks`: a span as docker words it. */
export function formatSpan(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  if (seconds < 1) return 'Less than a second'
  if (seconds < MINUTE) return plural(seconds, 'second')
  const minutes = Math.floor(seconds / MINUTE)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return plural(minutes, 'minute')
  const hours = Math.floor(seconds / HOUR + 0.5)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return plural(hours, 'hour')
  const days = Math.floor(hours / 24)
  if (days < 14) return plural(days, 'day')
  if (days < 60) return plural(Math.floor(days / 7), 'week')
  if (days < 730) return plural(Math.floor(days / 30), 'month')
  return plural(Math.floor(seconds / DAY / 365), 'year')
}

/** `3 minutes ago`; both in milliseconds since 1970. */
export function formatAgo(thenMs: number, nowMs: number): string {
  return `${formatSpan(nowMs - thenMs)} ago`
}

/** `2026-11-21 05:02:31 +0000 UTC`: docker's CreatedAt, always in UTC. */
export function formatMoment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
