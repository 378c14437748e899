import type { Engine } from '../engine/api.ts'
import type { Globals } from './command.ts'
import { printError } from './output/print.ts'

/** The engine for these global flags. Loaded here and nowhere else, when a command first needs it. */
export async function openEngine(globals: Globals): Promise<Engine> {
  const { createEngine } = await import('../engine/engine.ts')
  return createEngine({
    ...(globals.root === undefined ? {} : { root: globals.root }),
    ...(globals.runRoot === undefined ? {} : { runRoot: globals.runRoot }),
    ...(globals.debug ? { onDebug: (line: string) => printError(`${line}\n`) } : {}),
  })
}
