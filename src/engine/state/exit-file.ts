import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { decodeExit } from '../../runtime/launch.ts'
import type { EnginePaths } from '../paths.ts'
import { readJsonFile } from './json-file.ts'
import type { ExitRecord } from './record.ts'

/** What the monitor writes at the end of each life of a detached container (native/monitor.c). */
interface ExitFile {
  /** wait(2)'s status word. */
  readonly status: number
  readonly oomKilled: number
  readonly timedOut?: number
  readonly startedMs: number
  readonly finishedMs: number
  /** How often it has been started again before. */
  readonly restarts: number
  /** A person has stopped it. */
  readonly byPerson?: number
}

/** How a detached container ended; undefined where its monitor has not written it. */
export function readExitFile(paths: EnginePaths, id: string): (ExitRecord & { readonly restarts: number }) | undefined {
  const file = readJsonFile(exitFile(paths, id)) as ExitFile | undefined
  if (file === undefined) return undefined
  const { exitCode, signal } = decodeExit(file.status, file.oomKilled !== 0, file.timedOut === 1)
  return {
    exitCode,
    ...(signal === undefined ? {} : { signal }),
    oomKilled: file.oomKilled !== 0,
    ...(file.timedOut === 1 ? { timedOut: true } : {}),
    ...(file.startedMs === 0 ? {} : { startedMs: file.startedMs }),
    finishedMs: file.finishedMs,
    restarts: file.restarts,
    ...(file.byPerson === 1 ? { byPerson: true } : {}),
  }
}

/** Before it is started again: what is there tells of another life. */
export function removeExitFile(paths: EnginePaths, id: string): void {
  rmSync(exitFile(paths, id), { force: true })
}

function exitFile(paths: EnginePaths, id: string): string {
  return join(paths.containers, id, 'exit.json')
}
