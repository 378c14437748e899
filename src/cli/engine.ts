import type { Engine } from '../engine/api.ts'
import { findConfig } from '../engine/config/file.ts'
import type { Globals } from './command.ts'
import { printError } from './output/print.ts'

/** The engine for these global flags. Loaded here and nowhere else, when a command first needs it. */
export async function openEngine(globals: Globals): Promise<Engine> {
  const { createEngine } = await import('../engine/engine.ts')
  const options = {
    ...(globals.root === undefined ? {} : { root: globals.root }),
    ...(globals.runRoot === undefined ? {} : { runRoot: globals.runRoot }),
    ...(globals.debug ? { onDebug: (line: string) => printError(`${line}\n`) } : {}),
  }
  const config = findConfig()
  if (config === undefined) return createEngine(options)
  const { parseConfig } = await import('../engine/config/parse.ts')
  return createEngine(options, parseConfig(config))
}
