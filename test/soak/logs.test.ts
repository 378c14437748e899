import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { backgroundOf } from '../kernel/fixtures/detached.ts'
import { expectNothingLeft, useMachine, pidOf, TSCRUN, until } from '../kernel/fixtures/machine.ts'
import { compileStatic } from '../kernel/fixtures/rootfs.ts'

/** How much each container writes; `npm run soak` asks for 1 GB. */
const AMOUNT = Number(process.env['TSCRUN_SOAK_BYTES'] ?? 30_000_000)
/** So that the log is put aside again and again, whatever the amount. */
const FILE_BYTES = Math.max(1_000_000, Math.round(AMOUNT / 60))

const machine = useMachine()
beforeAll(() => {
  compileStatic(fileURLToPath(new URL('writer.c', import.meta.url)), join(machine.rootfs, 'bin/writer'))
})
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { detach, out, monitorOf } = backgroundOf(() => machine)

interface Sum {
  readonly bytes: number
  readonly sha256: string
}

async function sumOf(stream: Readable): Promise<Sum> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

function sumOfCommand(program: string, args: readonly string[]): Promise<Sum> {
  return sumOf(spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout)
}

/** The most memory the process has had in its RAM, in kB. */
function peakOf(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
}

function hasOpen(pid: number | undefined, path: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === path
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  })
}

const globals = (): string[] => ['--root', machine.store, '--runroot', machine.runRoot]

describe('a large output', () => {
  it.each(['k8s-file', 'json-file'])(
    'through the log (%s) is followed over rotations, no byte lost',
    async (driver) => {
      const options = ['--log-driver', driver, '--log-opt', `max-size=${FILE_BYTES}`, '--log-opt', 'max-file=2']
      const { id, name } = await detach(
        `until [ -e /go ]; do sleep 0.02; done; writer ${AMOUNT}; exec sleep 1000`,
        options,
      )
      const monitor = monitorOf(name)
      const follower = spawn(TSCRUN, [...globals(), 'logs', '-f', name], { stdio: ['ignore', 'pipe', 'inherit'] })
      const followed = sumOf(follower.stdout)
      // One that reads nothing, of the log and of the streams, keeps nobody else from anything.
      const stuck = spawn(TSCRUN, [...globals(), 'logs', '-f', name], { stdio: ['ignore', 'pipe', 'ignore'] })
      const expected = await sumOfCommand(join(machine.rootfs, 'bin/writer'), [String(AMOUNT)])
      const path = join(machine.store, 'containers', id, 'log')
      await until(() => hasOpen(follower.pid, path) && hasOpen(stuck.pid, path))
      await out('exec', name, 'touch', '/go')
      const written = (): boolean => pidOf(`writer ${AMOUNT}`) === undefined
      await until(() => !written())
      const early = await until(() => rotations(id) && peakOf(monitor))
      expect(await out('exec', name, 'echo', 'well')).toBe('well\n')
      await until(written)
      // What it needs does not grow with what it has handled.
      expect(peakOf(monitor)).toBeLessThanOrEqual(Math.max(early, 1024))
      stuck.kill('SIGKILL')
      await once(stuck, 'close')
      await out('stop', '-t', '0', name)
      expect(await followed).toEqual(expected)
    },
  )

  function rotations(id: string): boolean {
    return readdirSync(join(machine.store, 'containers', id)).includes('log.1')
  }

  it('through attach is handed on, no byte lost', async () => {
    const { name } = await detach(`read go; exec writer ${AMOUNT}`, ['-i', '--log-driver', 'none'])
    const monitor = monitorOf(name)
    const client = spawn(TSCRUN, [...globals(), 'attach', name], { stdio: ['pipe', 'pipe', 'inherit'] })
    const attached = sumOf(client.stdout)
    client.stdin.end('go\n')
    const expected = await sumOfCommand(join(machine.rootfs, 'bin/writer'), [String(AMOUNT)])
    await until(() => pidOf(`writer ${AMOUNT}`) === undefined || peakOf(monitor) > 1024)
    expect(await attached).toEqual(expected)
  })
})
