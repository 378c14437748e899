import { type Goal, goals } from './report.ts'
import type { Group } from './starts.ts'

/** What a file of bench/results tells. */
export interface Results {
  readonly date: string
  readonly commit: string
  readonly changed: boolean
  readonly machine: object
  readonly quick: boolean
  readonly realtime: boolean
  /** Peers that could not be measured: `podman: why`. */
  readonly skipped: readonly string[]
  readonly goals: readonly Goal[]
  readonly groups: readonly KeptGroup[]
}

interface KeptGroup extends Group {
  /** Of a group that an earlier run has measured. */
  readonly date?: string
}

/** A file for all that was measured of a commit on one day in one way. */
export function resultsName({ date, commit, changed, quick, realtime }: Omit<Results, 'groups' | 'goals'>): string {
  const way = `${changed ? '-changed' : ''}${quick ? '-quick' : ''}${realtime ? '-realtime' : ''}`
  return `${date.slice(0, 10)}-${commit}${way}.json`
}

/**
 * What a second run has not measured again stays as the first one has found it, and so does why a peer is missing there; the
 * goals are those of all groups.
 */
export function mergeResults(before: Results | undefined, now: Results): Results {
  if (before === undefined) return now
  const fresh = new Map(now.groups.map((group) => [group.name, group]))
  const groups = before.groups.map((group) => fresh.get(group.name) ?? { ...group, date: group.date ?? before.date })
  const known = new Set(before.groups.map(({ name }) => name))
  const all = [...groups, ...now.groups.filter(({ name }) => !known.has(name))]
  return { ...now, skipped: stillSkipped(before, now), goals: goals(all, !now.quick), groups: all }
}

/** Without the peers that a row of the second run is of; what that says of a peer itself is newer. */
function stillSkipped(before: Results, now: Results): string[] {
  const peerOf = (line: string): string => line.split(':')[0] ?? ''
  const named = new Set(now.skipped.map(peerOf))
  const measured = new Set(now.groups.flatMap(({ rows }) => rows.flatMap(({ name }) => name.match(/[\w-]+/g) ?? [])))
  return [...before.skipped.filter((line) => !named.has(peerOf(line)) && !measured.has(peerOf(line))), ...now.skipped]
}
