import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bundles, leftOf, makeBundles, RUNTIME } from './fixtures/bundles.ts'
import { cgroupsOf, isAlive, until } from './fixtures/machine.ts'

let bundles: Bundles
beforeAll(() => (bundles = makeBundles()))
afterAll(() => bundles.dispose())

/** Numbers of a run that can be had again (a linear congruential generator). */
function chances(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe('a create that is killed', () => {
  it.each(Array.from({ length: 24 }, (_, round) => round))(
    'at any moment leaves what delete --force removes (%i)',
    async (round) => {
      const chance = chances(7 + round * 1009)
      const id = `killed${round}`
      const hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '0.02'], env: [] }] }
      const bundle = bundles.bundle('sleep 1000', round % 3 === 0 ? { hooks } : {})
      const root = join(bundles.directory, 'run')
      const pidFile = join(bundle, 'pid')
      const child = spawn(RUNTIME, ['--root', root, 'create', '--bundle', bundle, '--pid-file', pidFile, id], {
        stdio: 'ignore',
      })
      const ended = once(child, 'exit')
      // Node's own start is the first half of it; the rest is looked at more closely.
      if (round % 2 === 0) await until(() => existsSync(join(root, id)) || child.exitCode !== null)
      await sleep(chance() * (round % 2 === 0 ? 25 : 90))
      child.kill('SIGKILL')
      await ended

      const state = bundles.runtime(['state', id])
      if (state.code === 0) {
        const { status } = JSON.parse(state.stdout) as { status: string }
        expect(['creating', 'created', 'stopped']).toContain(status)
      } else {
        expect(state.stderr).toContain('does not exist')
      }
      expect(bundles.runtime(['delete', '--force', id])).toEqual({ code: 0, stdout: '', stderr: '' })
      expect(bundles.runtime(['state', id]).stderr).toContain('does not exist')
      // Whoever it had started has seen its end; the kernel takes a moment.
      await until(() => processesOf(id, bundle).length === 0)
      expect(cgroupsOf(id)).toEqual([])
      expect(leftOf(bundles)).toEqual([])
      const again = bundles.runtime(['run', '--bundle', bundles.bundle('echo again'), id])
      expect(again).toEqual({ code: 0, stdout: 'again\n', stderr: '' })
    },
  )
})

describe('a create that is killed while a hook runs', () => {
  it.each(['createRuntime', 'createContainer'])('takes %s and the first process along', async (kind) => {
    const id = `hook-${kind}`
    const started = join(bundles.directory, `started-${kind}`)
    const script = `echo $$ > ${started}.new; mv ${started}.new ${started}; exec sleep 1000`
    const hooks = { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/usr/bin:/bin'] }] }
    const bundle = bundles.bundle('true', { hooks, linux: { namespaces: [{ type: 'mount' }] } })
    const args = ['--root', join(bundles.directory, 'run'), 'create', '--bundle', bundle, id]
    const child = spawn(RUNTIME, args, { stdio: 'ignore' })
    const ended = once(child, 'exit')
    await until(() => existsSync(started))
    const hook = Number(readFileSync(started, 'utf8'))
    expect(isAlive(hook)).toBe(true)
    child.kill('SIGKILL')
    await ended
    await until(() => !isAlive(hook) && processesOf(id, bundle).length === 0)
    expect(bundles.runtime(['delete', '--force', id]).code).toBe(0)
    expect(leftOf(bundles)).toEqual([])
  })
})

/** The stage, which is called after the container, and first processes with its pid file. */
function processesOf(id: string, bundle: string): number[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  const file = join(bundle, 'pid')
  const first = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
  return pids.filter((pid) => isAlive(pid) && (pid === first || titleOf(pid) === `tscrun-runtime: ${id}`))
}

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trimEnd()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}
