import { join } from 'node:path'
import type { HealthStatus } from '../../model/health.ts'
import { OPS } from '../../model/step.ts'
import { errnoName } from '../../syscall/errno.ts'
import type { EnginePaths } from '../paths.ts'
import { readJsonFile } from '../state/json-file.ts'

/** How a container stands, and its last checks, oldest first. */
export interface HealthState {
  readonly status: HealthStatus
  /** Checks in a row that failed. */
  readonly failingStreak: number
  readonly log: readonly HealthLogEntry[]
}

export interface HealthLogEntry {
  readonly startedMs: number
  readonly endedMs: number
  /** -1 where it took too long or could not be made. */
  readonly exitCode: number
  /** The beginning of what it wrote, or why there is nothing. */
  readonly output: string
}

/** health.json (native/health_file.c). */
interface HealthFile {
  readonly status: HealthStatus
  readonly failingStreak: number
  readonly checks: readonly (HealthLogEntry & {
    readonly timedOut?: boolean
    /** Which step of the exec could not be done, and why. */
    readonly op?: number
    readonly errno?: number
    /** The output is longer. */
    readonly more?: boolean
  })[]
}

/** Of one whose checks have been asked for, also in the moment before its monitor has written anything. */
export function readHealth(paths: EnginePaths, id: string): HealthState {
  const file = readFile(join(paths.runRoot, id)) ?? readFile(join(paths.containers, id))
  if (file === undefined) return { status: 'starting', failingStreak: 0, log: [] }
  const { status, failingStreak, checks } = file
  return { status, failingStreak, log: checks.map((check) => entryOf(check)) }
}

function readFile(directory: string): HealthFile | undefined {
  return readJsonFile(join(directory, 'health.json')) as HealthFile | undefined
}

function entryOf({ startedMs, endedMs, exitCode, output, ...rest }: HealthFile['checks'][number]): HealthLogEntry {
  const { timedOut = false, op, errno, more = false } = rest
  const said = more ? `${output}...` : output
  const name = Object.entries(OPS).find(([, { code }]) => code === op)?.[0] ?? 'check'
  if (errno !== undefined) return { startedMs, endedMs, exitCode, output: `${name}: ${errnoName(errno)}` }
  return { startedMs, endedMs, exitCode, output: timedOut ? `${said}it took too long, and was killed` : said }
}
