import { readFileSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'

/**
 * Undefined where there is none. A file that was renamed to its place a moment before the machine lost its power may be
 * there without its content: empty (ext4), or full of zeros (xfs). That is none either.
 */
export function readJsonFile(path: string): unknown {
  try {
    const text = readFileSync(path, 'utf8')
    return /[^\0]/.test(text) ? JSON.parse(text) : undefined
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
