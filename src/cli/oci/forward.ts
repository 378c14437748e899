import { constants } from 'node:os'
import type { Launched } from '../../runtime/launch.ts'
import type { Signals } from '../signals.ts'

/** Signals to us go to the process from now on. */
export function forwardTo(signals: Signals): (launched: Launched) => void {
  return (launched) => {
    signals.takeOver((name) => void launched.signal(constants.signals[name]))
    // One that came before there was anybody to tell.
    if (signals.aborted.aborted) launched.signal(constants.signals.SIGTERM)
  }
}
