import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootId } from '../../images/boot-id.ts'
import { errnoOf } from '../../model/errors.ts'
import type { EnginePaths } from '../paths.ts'

/**
 * Whether the machine has been started again since the store was looked after. Then nothing of it runs, whatever the run
 * directory says: on a machine that keeps /run, a process of today may have the pid, and even the start time, of one then.
 */
export function wasBooted(paths: EnginePaths): boolean {
  const noted = read(markOf(paths))
  return noted !== undefined && noted !== bootId()
}

/** Notes that the store is right for this boot. A directory that is no store is left as it is. */
export function noteBoot(paths: EnginePaths): void {
  const [mark, id] = [markOf(paths), bootId()]
  if (id === undefined || read(mark) === id || !existsSync(paths.names)) return
  const temporary = `${mark}.${process.pid}`
  try {
    writeFileSync(temporary, `${id}\n`, { mode: 0o600 })
    renameSync(temporary, mark)
  } catch (error) {
    // Where nothing can be written nothing can be put right either.
    if (!['ENOENT', 'ENOSPC', 'EDQUOT', 'EROFS', 'EACCES'].includes(errnoOf(error) ?? '')) throw error
    rmSync(temporary, { force: true })
  }
}

function markOf(paths: EnginePaths): string {
  return join(paths.root, 'boot')
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
