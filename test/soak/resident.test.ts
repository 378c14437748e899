import { once } from 'node:events'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, it } from 'vitest'
import { randomOf, soakOf } from '../setup/soak.ts'
import { expectNothingLeft, PROJECT, useMachine } from '../kernel/fixtures/machine.ts'
import { childrenOf } from '../kernel/fixtures/waiting.ts'

/**
 * A program that runs containers of several kinds, three at a time, some of them aborted, while stages and first processes,
 * at work or begun ahead, are killed at any moment: each call has its output or says what happened, the program lives, and
 * nothing is left.
 */
const { count, seed } = soakOf('resident', 200)

const machine = useMachine()

/** Says on its output how many calls ended how; what nobody expects is said with its words. */
const PROGRAM = `
import { setTimeout as pause } from 'node:timers/promises'
const { createEngine } = await import(${JSON.stringify(join(PROJECT, 'dist/index.js'))})
const [root, runRoot, path, count, seed] = process.argv.slice(1)
const { randomOf } = await import('data:text/javascript,' + encodeURIComponent(${JSON.stringify(`export const randomOf = ${randomOf.toString()}`)}))
const random = randomOf(Number(seed))
const pick = (most) => Math.floor(random() * most)
const engine = createEngine({ root, runRoot })
const KINDS = [
  [['sh', '-c', 'echo fine'], {}, 'fine\\n'],
  [['cat'], { input: 'words' }, 'words'],
  [['sh', '-c', 'echo below'], { init: true }, 'below\\n'],
  [['id', '-u'], { user: '5:6' }, '5\\n'],
  [['pwd'], { workdir: '/tmp/made' }, '/tmp/made\\n'],
  [['sleep', '19317'], { timeoutMs: 20 }],
  [['nobody-has-this'], {}],
]
const KILLED = ['MONITOR_DIED', 'KERNEL_REFUSED']
const tally = {}
const note = (what) => (tally[what] = (tally[what] ?? 0) + 1)
let left = Number(count)
async function work() {
  while (left-- > 0) {
    const [command, options, expected] = KINDS[pick(KINDS.length)]
    const ending = new AbortController()
    const isAborted = pick(10) === 0
    if (isAborted) setTimeout(() => ending.abort(), pick(4))
    try {
      const { stdout } = await engine.run(undefined, command, { rootfs: { path, overlay: true }, network: 'none', signal: ending.signal, ...options })
      note(stdout === expected ? 'as expected' : 'other output: ' + stdout)
    } catch (error) {
      const { code, message, result } = error
      if (isAborted && code === 'ABORTED') note('aborted')
      else if (options.timeoutMs !== undefined && result?.timedOut) note('as expected')
      else if (command[0] === 'nobody-has-this' && code === 'COMMAND_NOT_FOUND') note('as expected')
      else if (KILLED.includes(code) || result?.signal === 'SIGKILL') note('killed')
      else note('other error: ' + code + ' ' + message)
    }
    if (pick(3) === 0) await pause(pick(30))
  }
}
await Promise.all([work(), work(), work()])
console.log(JSON.stringify(tally))
// What was begun and is not wanted goes after a second.
await pause(2500)
`

it(`${count} runs of a program whose processes are killed (seed ${seed})`, async () => {
  const random = randomOf(seed)
  const program = execa(
    process.execPath,
    ['--input-type=module', '--eval', PROGRAM, machine.store, machine.runRoot, machine.rootfs, `${count}`, `${seed}`],
    { reject: false },
  )
  const isOver = Promise.race([program, once(program.stdout, 'data')]).then(() => true)
  const kill = (): void => {
    const stages = childrenOf(program.pid ?? 0)
    const stage = stages[Math.floor(random() * stages.length)]
    if (stage === undefined) return
    const [first = stage] = childrenOf(stage)
    process.kill(random() < 0.5 ? stage : first, 'SIGKILL')
  }
  const pause = (): Promise<boolean> => new Promise((resolve) => setTimeout(() => resolve(false), 2 + 10 * random()))
  while (!(await Promise.race([isOver, pause()]))) {
    try {
      kill()
    } catch (error) {
      // It has ended by itself.
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }
  const { exitCode, signal, stdout, stderr } = await program
  expect({ exitCode, signal, stderr }).toEqual({ exitCode: 0, signal: undefined, stderr: '' })
  const tally = JSON.parse(stdout) as Record<string, number>
  expect(Object.keys(tally).filter((what) => what.startsWith('other'))).toEqual([])
  expect(tally['as expected']).toBeGreaterThan(count / 4)
  expect(tally['killed']).toBeGreaterThan(0)
  expect((await machine.tscrun(['ps', '--all', '--quiet'])).stdout).toBe('')
  expectNothingLeft(machine)
})
