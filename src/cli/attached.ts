import { constants } from 'node:os'
import type { AttachOptions } from '../engine/live/detached.ts'
import type { Attachment } from '../engine/live/live.ts'
import { Interruption, withSignals } from './signals.ts'

export interface AttachRequest {
  readonly stdin: boolean
  readonly detachKeys: string
  readonly signals: boolean
}

/** Connects this process's own streams with a detached container until one of them ends; answers the exit code. */
export async function attachHere(
  connect: (options: AttachOptions, aborted: AbortSignal) => Promise<Attachment>,
  request: AttachRequest,
): Promise<number> {
  return withSignals(async ({ takeOver, aborted }) => {
    const { isTerminalFd } = await import('./output/terminal.ts')
    const terminal = await isTerminalFd(1)
    const size = terminal ? windowSize() : undefined
    const streams = {
      ...(request.stdin ? { stdin: 0 } : {}),
      stdout: 1,
      stderr: 2,
      detachKeys: request.detachKeys,
      ...(size === undefined ? {} : { size }),
    }
    const attachment = await connect(streams, aborted)
    // A terminal that is closed takes along whoever watches, not the container.
    const left = new AbortController()
    const watched = terminal || (await isTerminalFd(0))
    const receive = (signal: NodeJS.Signals): void => {
      if (signal === 'SIGHUP' && watched) left.abort(new Interruption(signal, undefined))
      else attachment.signal(constants.signals[signal])
    }
    if (request.signals) takeOver(receive)
    // The monitor is in another session and is not told of changes of this window.
    const changed = (): void => {
      const { rows, columns } = windowSize()
      attachment.resize(rows, columns)
    }
    if (size !== undefined) {
      process.on('SIGWINCH', changed)
      // While the connection was made nobody but Node was told.
      const now = windowSize()
      if (now.rows !== size.rows || now.columns !== size.columns) changed()
    }
    try {
      // Unless they are the container's, a signal ends this process alone.
      const ended = await Promise.race([attachment.ended, rejectionOf(AbortSignal.any([aborted, left.signal]))])
      return ended === 'detached' ? 0 : ended.exitCode
    } finally {
      process.off('SIGWINCH', changed)
      attachment.close()
    }
  })
}

function rejectionOf(aborted: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(aborted.reason as Error)
    if (aborted.aborted) stop()
    else aborted.addEventListener('abort', stop, { once: true })
  })
}

function windowSize(): { readonly rows: number; readonly columns: number } {
  const [columns, rows] = process.stdout.getWindowSize()
  return { rows, columns }
}
