import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readStats } from '../../src/cgroups/stats.ts'
import { updateLimits } from '../../src/cgroups/update.ts'

let directory: string
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'oci-limits-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true }))

const given = (files: Readonly<Record<string, string>>): void => {
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(join(directory, name), text)
}
const content = (name: string): string => fs.readFileSync(join(directory, name), 'utf8')

// A directory of plain files: what is asked for, not what a kernel makes of it.
describe('updateLimits', () => {
  it('writes what is given and leaves the rest as it is', () => {
    given({ 'memory.max': 'max\n', 'memory.swap.max': '7\n', 'memory.low': '5\n', 'pids.max': '9\n' })
    updateLimits(directory, { memory: { limit: 4096 }, pids: { limit: -1 } })
    expect(['memory.max', 'memory.swap.max', 'memory.low', 'pids.max'].map(content)).toEqual([
      '4096',
      '7\n',
      '5\n',
      'max',
    ])
  })

  it('takes a limit on memory and swap together as one beyond the memory limit in force', () => {
    given({ 'memory.max': '4096\n', 'memory.swap.max': 'max\n' })
    updateLimits(directory, { memory: { swap: 6144 } })
    expect(content('memory.swap.max')).toBe('2048')
    given({ 'memory.max': 'max\n' })
    expect(() => updateLimits(directory, { memory: { swap: 6144 } })).toThrow('without a memory limit')
  })

  it('keeps the quota where only the period changes, and the period where only the quota does', () => {
    given({ 'cpu.max': '50000 100000\n' })
    updateLimits(directory, { cpu: { period: 200_000 } })
    expect(content('cpu.max').trim()).toBe('50000 200000')
    updateLimits(directory, { cpu: { quota: 70_000 } })
    expect(content('cpu.max').trim()).toBe('70000 200000')
  })

  it('refuses a limit below what is in use, where the caller asks for that', () => {
    given({ 'memory.max': 'max\n', 'memory.current': '9000\n' })
    expect(() => updateLimits(directory, { memory: { limit: 4096, checkBeforeUpdate: true } })).toThrow(
      '9000 bytes are in use',
    )
    expect(content('memory.max')).toBe('max\n')
  })

  it('names the controller that the cgroup does not have', () => {
    expect(() => updateLimits(directory, { pids: { limit: 5 } })).toThrow(
      expect.objectContaining({ code: 'CONTROLLER_UNAVAILABLE', subject: 'pids' }),
    )
  })
})

describe('readStats', () => {
  it('tells in the shape of runc what the files of cgroup v2 say', () => {
    given({
      'cpu.stat': 'usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n',
      'memory.current': '100\n',
      'memory.max': '1000\n',
      'memory.peak': '500\n',
      'memory.swap.current': '10\n',
      'memory.swap.max': 'max\n',
      'memory.stat': 'anon 60\nfile 40\n',
      'memory.events': 'low 0\nmax 3\noom_kill 1\n',
      'pids.current': '5\n',
      'pids.max': '8\n',
      'io.stat': '8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n',
      'hugetlb.2MB.current': '0\n',
      'hugetlb.2MB.max': '9223372036854771712\n',
      'hugetlb.2MB.events': 'max 6\n',
    })
    expect(readStats(directory)).toEqual({
      cpu: {
        usage: { total: 30_000, kernel: 10_000, user: 20_000 },
        throttling: { periods: 4, throttledPeriods: 2, throttledTime: 7000 },
      },
      memory: {
        cache: 40,
        usage: { limit: 1000, usage: 100, max: 500, failcnt: 3 },
        swap: { limit: 2n ** 64n - 1n, usage: 110, failcnt: 0 },
        kernel: { limit: 0, usage: 0, failcnt: 0 },
        kernelTCP: { limit: 0, usage: 0, failcnt: 0 },
        raw: { anon: 60, file: 40 },
      },
      pids: { current: 5, limit: 8 },
      blkio: {
        ioServiceBytesRecursive: [
          { major: 8, minor: 16, op: 'Read', value: 1 },
          { major: 8, minor: 16, op: 'Write', value: 2 },
          { major: 8, minor: 16, op: 'Discard', value: 0 },
        ],
        ioServicedRecursive: [
          { major: 8, minor: 16, op: 'Read', value: 3 },
          { major: 8, minor: 16, op: 'Write', value: 4 },
          { major: 8, minor: 16, op: 'Discard', value: 0 },
        ],
      },
      hugetlb: { '2MB': { limit: 9223372036854771712n, usage: 0, failcnt: 6 } },
    })
  })
})
