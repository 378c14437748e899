import { TscrunError } from '../model/errors.ts'

/** With their numbers (signal(7)): node:os, which has them too, takes a while to load. */
const NUMBERS: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** What a foreground container is told of, beside the stopping ones. */
const FORWARDED = ['SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGCONT'] as const

/** The signals this process gets while a command runs. */
export interface Signals {
  /** Aborted by the first stopping signal, until somebody takes the signals over. */
  readonly aborted: AbortSignal
  /** From now on signals go to `receive`. */
  readonly takeOver: (receive: (signal: NodeJS.Signals) => void) => void
}

/**
 * Runs an action that Ctrl-C, SIGTERM and SIGHUP abort; a second one ends the process at once. An aborted action
 * rejects with an `Interruption`, whose exit code is 128 + the signal's number.
 */
export async function withSignals<T>(action: (signals: Signals) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let receive: ((signal: NodeJS.Signals) => void) | undefined
  let stoppedBy: NodeJS.Signals | undefined
  const stop = (signal: NodeJS.Signals): void => {
    if (receive !== undefined) return receive(signal)
    if (stoppedBy !== undefined) process.exit(exitCodeOf(signal))
    stoppedBy = signal
    controller.abort(new TscrunError('ABORTED', `ended by ${signal}`))
  }
  const forward = (signal: NodeJS.Signals): void => receive?.(signal)
  for (const signal of STOPPING) process.on(signal, stop)
  try {
    const result = await action({
      aborted: controller.signal,
      takeOver(receiver) {
        receive = receiver
        for (const signal of FORWARDED) process.on(signal, forward)
      },
    })
    // Whoever swallowed the abort has told about it as an error of its own.
    if (stoppedBy !== undefined) throw new Interruption(stoppedBy, undefined)
    return result
  } catch (error) {
    if (stoppedBy === undefined || error instanceof Interruption) throw error
    throw new Interruption(stoppedBy, error)
  } finally {
    for (const signal of STOPPING) process.off(signal, stop)
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}

/** A command that was ended by a signal to tscrun itself. */
export class Interruption extends TscrunError {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals, cause: unknown) {
    super('ABORTED', `ended by ${signal}`, { cause })
    this.signal = signal
  }

  override get exitCode(): number {
    return exitCodeOf(this.signal)
  }
}

function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + (NUMBERS[signal] ?? 0)
}
