import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const CONTROLLERS = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids']

describe('the guest', () => {
  it('has cgroup v2 alone, with every controller tscrun can use', () => {
    expect(readFileSync('/sys/fs/cgroup/cgroup.subtree_control', 'utf8').trim().split(' ')).toEqual(
      expect.arrayContaining(CONTROLLERS),
    )
    expect(readFileSync('/proc/mounts', 'utf8')).not.toMatch(/ cgroup /)
  })

  it('has a disk for the store: overlay and 9p cannot hold an upper directory', () => {
    expect(readFileSync('/proc/mounts', 'utf8')).toMatch(/^\/dev\/vda \/mnt\/data ext4 /m)
    expect(process.env['TSCRUN_TEST_DATA']).toBe('/mnt/data')
  })
})
