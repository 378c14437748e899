/**
 * The clock as it was when this was loaded: a test suite that puts one of its own in its place (fake timers) stops no
 * container with it.
 */
export const realTimers = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  /** Milliseconds of a clock that only goes on. */
  now: performance.now.bind(performance),
} as const

/** Waits; node:timers/promises would load the streams with it, 3 ms at the start of a command. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    realTimers.setTimeout(resolve, ms)
  })
}

/** Lets whatever waits in the event loop go first. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    realTimers.setImmediate(resolve)
  })
}
