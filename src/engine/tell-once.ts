import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'
import type { EnginePaths } from './paths.ts'

/** What the host cannot give; each has a file of its name below the run directory. */
export const HOST_LACKS = ['no-network', 'no-user-namespace', 'no-upper'] as const

/** Something that the host cannot give a container, which runs without it. */
export interface HostWarning {
  readonly lack: (typeof HOST_LACKS)[number]
  readonly line: string
}

/**
 * Tells a warning unless it was the last of its kind: in a file that goes with the machine's end.
 *
 * @param where what else it holds for, e.g. a namespace: in another one it is told again
 */
export function tellOnce(
  { runRoot }: Pick<EnginePaths, 'runRoot'>,
  { lack, line }: HostWarning,
  tell: (line: string) => void,
  where = '',
): void {
  const path = join(runRoot, lack)
  const text = `${where}${where === '' ? '' : ' '}${line}\n`
  try {
    if (readFileSync(path, 'utf8') === text) return
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
  mkdirSync(runRoot, { recursive: true, mode: 0o700 })
  writeFileSync(path, text, { mode: 0o600 })
  tell(line)
}
