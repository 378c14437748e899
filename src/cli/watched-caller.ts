import type { Repeatable } from '../engine/prepared/prepared.ts'
import { readUserFile } from './caller.ts'
import { reportError } from './errors.ts'
import type { Caller } from './parse/environment.ts'

/** The caller of `run`, and what of it has been looked at. */
export interface WatchedCaller extends Caller {
  /** For a start that is to be kept; undefined where it depends on what the launcher cannot look at. */
  repeatable(): Repeatable | undefined
}

/** What the launcher hands to Node under another name, or makes itself: it sees other values of these. */
const OTHERWISE = /^(?:TSCRUN_|NODE_)/

export function watchedCaller(cwd: string): WatchedCaller {
  const variables = new Set<string>()
  const files = new Set<string>()
  let all = false
  const env = new Proxy(process.env, {
    get(target, name) {
      variables.add(String(name))
      return target[String(name)]
    },
    // A prefix: each name that there is, and each that there could be.
    ownKeys(target) {
      all = true
      return Reflect.ownKeys(target)
    },
  })
  return {
    env,
    cwd,
    readFile(path) {
      files.add(path)
      return readUserFile(path)
    },
    repeatable() {
      const off = process.env['TSCRUN_PREPARED'] === '0'
      if (off || all || [...variables].some((name) => OTHERWISE.test(name))) return undefined
      const say = (error: unknown): ReturnType<Repeatable['say']> => reportError(error, false)
      return { argv: process.argv.slice(2), directory: cwd, variables: [...variables], files: [...files], say }
    },
  }
}
