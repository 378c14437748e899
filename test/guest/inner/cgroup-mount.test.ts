import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { run } from './fixtures/containers.ts'

/** Type, source and options of the host's own mount of cgroup v2. */
function hostsMount(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((entry) => entry.includes(' - cgroup2 '))
  return line?.split(' - ')[1] ?? ''
}

it.each(['host', 'private'])("--cgroupns %s leaves the options of the host's cgroups as they are", async (mode) => {
  const before = hostsMount()
  expect(before).toMatch(/nsdelegate,memory_recursiveprot/)
  for (const user of ['host', 'auto']) {
    const flags = ['--cgroupns', mode, '--userns', user]
    const { stdout } = await run(
      flags,
      'cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.controllers; (: >/sys/fs/cgroup/x) 2>/dev/null || echo read-only',
    )
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(mode === 'host' ? /^0::\/tscrun\/[0-9a-f]{64}$/ : /^0::\/$/)
    expect(lines[1]).toContain('memory')
    expect(lines[2]).toBe('read-only')
    expect(hostsMount()).toBe(before)
  }
})
