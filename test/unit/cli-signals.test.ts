import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { forEachOperand } from '../../src/cli/each.ts'
import { withSignals } from '../../src/cli/signals.ts'
import { TscrunError } from '../../src/model/errors.ts'

/** Signals of this very process: it has a listener for each of them when they come. */
const send = (signal: NodeJS.Signals): void => void process.kill(process.pid, signal)
const listeners = (): number[] =>
  (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const).map((name) => process.listenerCount(name))

describe('a command that is told to stop', () => {
  it.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s aborts and ends with %d', async (signal, exitCode) => {
    const before = listeners()
    const work = withSignals(async ({ aborted }) => {
      send(signal)
      await once(aborted, 'abort')
      throw aborted.reason
    })
    await expect(work).rejects.toMatchObject({ code: 'ABORTED', message: `ended by ${signal}`, exitCode })
    expect(listeners()).toEqual(before)
  })

  it('does not go on to its next operand', async () => {
    const seen: string[] = []
    const work = withSignals(({ aborted }) =>
      forEachOperand(
        ['a', 'b'],
        async (name) => {
          seen.push(name)
          send('SIGINT')
          await once(aborted, 'abort')
          aborted.throwIfAborted()
        },
        false,
      ),
    )
    await expect(work).rejects.toMatchObject({ exitCode: 130 })
    expect(seen).toEqual(['a'])
  })

  it('ends so even where the abort became another error that was dealt with', async () => {
    const work = withSignals(async ({ aborted }) => {
      send('SIGTERM')
      await once(aborted, 'abort')
      return 0
    })
    await expect(work).rejects.toMatchObject({ exitCode: 143 })
  })
})

describe('a command with a container', () => {
  it('hands it every signal, and is not aborted itself', async () => {
    const before = listeners()
    const received: string[] = []
    const result = await withSignals(async ({ aborted, takeOver }) => {
      takeOver((signal) => received.push(signal))
      for (const signal of ['SIGINT', 'SIGINT', 'SIGTERM', 'SIGUSR2', 'SIGQUIT'] as const) {
        send(signal)
        while (received.at(-1) !== signal) await setTimeout(1)
        // A second SIGINT looks like the first: give it its turn.
        await setTimeout(5)
      }
      expect(aborted.aborted).toBe(false)
      return 7
    })
    expect(result).toBe(7)
    expect(received).toEqual(['SIGINT', 'SIGINT', 'SIGTERM', 'SIGUSR2', 'SIGQUIT'])
    expect(listeners()).toEqual(before)
  })

  it('whose work fails by itself keeps that error', async () => {
    const work = withSignals(() => Promise.reject(new TscrunError('STORE', 'open x: EIO')))
    await expect(work).rejects.toMatchObject({ code: 'STORE', exitCode: 125 })
  })
})
