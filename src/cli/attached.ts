import { constants } from 'node:os'
import type { Engine } from '../engine/api.ts'
import { withSignals } from './signals.ts'

export interface AttachRequest {
  readonly stdin: boolean
  readonly detachKeys: string
  readonly signals: boolean
}

/** Connects this process's own streams with a detached container until one of them ends; answers the exit code. */
export async function attachHere(engine: Engine, container: string, request: AttachRequest): Promise<number> {
  return withSignals(async ({ takeOver }) => {
    const attachment = await engine.attach(container, {
      ...(request.stdin ? { stdin: 0 } : {}),
      stdout: 1,
      stderr: 2,
      detachKeys: request.detachKeys,
    })
    if (request.signals) takeOver((signal) => attachment.signal(constants.signals[signal]))
    const forget = await followWindow(attachment)
    try {
      const ended = await attachment.ended
      return ended === 'detached' ? 0 : ended.exitCode
    } finally {
      forget()
      attachment.close()
    }
  })
}

/** The monitor is in another session and is not told of changes of this window. */
async function followWindow(attachment: { resize(rows: number, columns: number): void }): Promise<() => void> {
  const { isTerminalFd } = await import('./output/terminal.ts')
  if (!(await isTerminalFd(1))) return () => undefined
  const tell = (): void => {
    const [columns, rows] = process.stdout.getWindowSize()
    attachment.resize(rows, columns)
  }
  tell()
  process.on('SIGWINCH', tell)
  return () => process.off('SIGWINCH', tell)
}
