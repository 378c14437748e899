import { expect, it, vi } from 'vitest'
import { withEngineSignal } from '../../src/engine/signal.ts'

it('as many calls as one likes may wait for one signal, be it theirs or the engine’s', () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const listen = (signal: AbortSignal): void => {
    for (let waiting = 0; waiting < 20; waiting++) signal.addEventListener('abort', () => undefined)
  }
  const [engine, call, other] = [new AbortController(), new AbortController(), new AbortController()]
  withEngineSignal({ signal: engine.signal }, { signal: call.signal })
  for (const { signal } of [engine, call]) listen(signal)
  expect(warned).not.toHaveBeenCalled()
  listen(other.signal)
  expect(warned).toHaveBeenCalledOnce()
  warned.mockRestore()
})

it('a signal that is not Node’s own is taken as it is', () => {
  // As jsdom's: the same methods, of another class.
  const foreign = { aborted: false, addEventListener: () => undefined, removeEventListener: () => undefined }
  const options = { signal: foreign as unknown as AbortSignal }
  expect(withEngineSignal({}, options)).toBe(options)
})
