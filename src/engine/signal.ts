import { setMaxListeners } from 'node:events'
import { errnoOf, TscrunError } from '../model/errors.ts'

/**
 * What a caller waits for ends by its own signal, and by that of its engine (EngineOptions).
 * @returns the same options where the engine has none
 */
export function withEngineSignal<T extends { readonly signal?: AbortSignal }>(
  { signal }: { readonly signal?: AbortSignal },
  options: T,
): T {
  for (const each of [signal, options.signal]) if (each !== undefined) expectMany(each)
  if (signal === undefined) return options
  return { ...options, signal: options.signal === undefined ? signal : AbortSignal.any([signal, options.signal]) }
}

/** As many as one likes may wait for one signal: Node warns of the eleventh, as if it had been forgotten. */
function expectMany(signal: AbortSignal): void {
  try {
    setMaxListeners(0, signal)
  } catch (error) {
    // It is not Node's own, as in a test with a browser's globals: such a one warns of nobody.
    if (errnoOf(error) !== 'ERR_INVALID_ARG_TYPE') throw error
  }
}

/** Does it within that signal; where it has ended because of it, rejects with ABORTED, the signal's reason as its cause. */
export async function abortable<T, O extends { readonly signal?: AbortSignal }>(
  engine: { readonly signal?: AbortSignal },
  what: string,
  options: O,
  action: (options: O) => Promise<T>,
): Promise<T> {
  const bound = withEngineSignal(engine, options)
  try {
    return await action(bound)
  } catch (error) {
    throw abortedError(what, bound.signal, error)
  }
}

/** Whatever stops at a signal throws its reason: in words for whoever has called. Any other error is answered as it is. */
export function abortedError(what: string, signal: AbortSignal | undefined, error: unknown): unknown {
  const isReason = signal?.aborted === true && error === signal.reason
  return isReason ? new TscrunError('ABORTED', `${what}: aborted`, { cause: error }) : error
}
