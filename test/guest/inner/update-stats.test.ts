import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createEngine } from '../../../src/index.ts'
import { busyboxRootfs, cgroups, RUN_ROOT, STORE, tscrun } from './fixtures/containers.ts'

const MIB = 2 ** 20
/** Holds 30 MB of memory, and waits. */
const HOLDER = 'x=$(dd if=/dev/zero bs=1M count=30 2>/dev/null | tr "\\0" x); while :; do sleep 0.1; done'

/** Of every monitor that lives. */
function monitorScores(): string[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/comm`))
  const isMonitor = (pid: string): boolean => readFileSync(`/proc/${pid}/comm`, 'latin1') === 'tscrun-monitor\n'
  return processes.filter(isMonitor).map((pid) => readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim())
}

describe('a running container', () => {
  it('is counted by stats, and gets other limits by update, also for its next start', async () => {
    const engine = createEngine({ root: STORE, runRoot: RUN_ROOT })
    const rootfs = { path: busyboxRootfs(), overlay: true }
    const container = await engine.start(undefined, ['sh', '-c', HOLDER], {
      rootfs,
      name: 'held',
      memory: 256 * MIB,
      pidsLimit: 20,
    })
    try {
      const show = async (file: string): Promise<string> =>
        (await container.exec(['cat', `/sys/fs/cgroup/${file}`])).stdout.trim()
      expect(await show('memory.max')).toBe(String(256 * MIB))
      // Where the machine's memory is short.
      expect(monitorScores()).toEqual(['-999'])
      expect((await container.exec(['cat', '/proc/1/oom_score_adj', '/proc/self/oom_score_adj'])).stdout).toBe('0\n0\n')
      let stats = await container.stats()
      while ((stats.memory?.usage ?? 0) < 30 * MIB) stats = await container.stats()
      expect(stats.memory?.limit).toBe(256 * MIB)
      expect(stats.pids).toBeGreaterThanOrEqual(1)
      expect(stats.blockIo).toBeDefined()

      await container.update({ memory: 512 * MIB, cpus: 0.5 })
      expect([await show('memory.max'), await show('cpu.max'), await show('pids.max')]).toEqual([
        String(512 * MIB),
        '50000 100000',
        '20',
      ])
      expect((await container.stats()).memory?.limit).toBe(512 * MIB)
      // One after the other: processors and their controller are only handed down when they are asked for.
      await container.update({ cpusetCpus: '0', pidsLimit: -1, memory: -1 })
      await container.stop({ timeoutMs: 0 })
      await container.start()
      expect([await show('memory.max'), await show('pids.max'), await show('cpuset.cpus')]).toEqual(['max', 'max', '0'])
      const { exitCode, stderr } = await tscrun(['update', '--memory', '1m', 'held'])
      expect(exitCode).toBe(125)
      expect(stderr).toMatch(/memory/)
    } finally {
      await container.remove()
    }
    expect(cgroups()).toEqual([])
  })
})
