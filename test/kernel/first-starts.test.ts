import { rmSync } from 'node:fs'
import { expect, it } from 'vitest'
import { expectNothingLeft, useMachine } from './fixtures/machine.ts'

const machine = useMachine()

/** Each start that finds the store half made must wait for nobody and miss nothing. */
const ROUNDS = 6

it('containers that are the first of a store, all at once, all run', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    for (const path of [machine.store, machine.runRoot]) rmSync(path, { recursive: true, force: true })
    const ended = await Promise.all(Array.from({ length: 8 }, () => machine.run([], ['true'])))
    expect(ended.map(({ exitCode, stderr }) => ({ exitCode, stderr }))).toEqual(
      ended.map(() => ({ exitCode: 0, stderr: '' })),
    )
    expectNothingLeft(machine)
  }
})
