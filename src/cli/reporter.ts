import type { Listener } from '../engine/api.ts'
import type { Globals } from './command.ts'
import { warningLine } from './errors.ts'
import type { ProgressView } from './output/progress.ts'
import { print, printError } from './output/print.ts'

/** What the engine tells while it works, on standard error. */
export interface Reporter extends Required<Pick<Listener, 'onWarning' | 'onProgress'>> {
  /** Call it when the work has ended, well or not. */
  readonly finish: () => Promise<void>
}

export interface ReporterOptions {
  /** Shows no progress. */
  readonly quiet: boolean
  /** One JSON object a line on standard output instead of rows on standard error. */
  readonly json?: boolean
}

/** The code that draws is loaded with the first event: most runs pull nothing. */
export function createReporter(globals: Globals, { quiet, json = false }: ReporterOptions): Reporter {
  let view: Promise<ProgressView> | undefined
  return {
    onWarning(line) {
      if (!globals.quietWarnings) printError(warningLine(line))
    },
    onProgress(event) {
      if (quiet) return
      view ??= json ? openJsonLines() : openView()
      void view.then((opened) => opened.show(event))
    },
    async finish() {
      ;(await view)?.finish()
    },
  }
}

async function openJsonLines(): Promise<ProgressView> {
  return (await import('./output/progress.ts')).createJsonLines(print)
}

async function openView(): Promise<ProgressView> {
  const [{ createProgress }, { isTerminal }] = await Promise.all([
    import('./output/progress.ts'),
    import('./output/terminal.ts'),
  ])
  return createProgress({
    write: printError,
    terminal: await isTerminal(2, process.env),
    size: () => ({ columns: process.stderr.columns || 80, rows: process.stderr.rows || 24 }),
    now: () => performance.now(),
  })
}
