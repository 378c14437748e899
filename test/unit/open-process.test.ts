import { spawnSync } from 'node:child_process'
import { closeSync, readlinkSync } from 'node:fs'
import { expect, it } from 'vitest'
import { openProcess, startTimeOf } from '../../src/syscall/process.ts'

it('opens the process that has this pid and start time', () => {
  const fd = openProcess(process.pid, startTimeOf(process.pid) ?? 0, 'exec web: the container has ended')
  expect(readlinkSync(`/proc/self/fd/${fd}`)).toMatch(/pidfd/)
  closeSync(fd)
})

it.each([
  ['that has ended', () => spawnSync('true').pid, 1],
  ['whose pid another one has now', () => process.pid, 1],
])('says of one %s that its container has ended', (_, pid, startTime) => {
  expect(() => openProcess(pid(), startTime, 'exec web: the container has ended')).toThrow(
    expect.objectContaining({ code: 'CONTAINER_STATE', message: 'exec web: the container has ended' }),
  )
})
