import { describe, expect, it } from 'vitest'
import { withHostsCgroups } from '../../src/cgroups/host-mount.ts'
import type { OciConfig, OciMount } from '../../src/model/config.ts'
import type { CgroupFacts } from '../../src/model/facts.ts'

const FACTS: CgroupFacts = {
  mode: 'hybrid',
  mountpoint: '/sys/fs/cgroup/unified',
  readonly: false,
  own: '/',
  controllers: [],
  v1Controllers: [],
}
const CGROUP: OciMount = { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'ro'] }
const PROC: OciMount = { destination: '/proc', type: 'proc', source: 'proc' }

function config(
  mounts: readonly OciMount[],
  namespaces: NonNullable<OciConfig['linux']>['namespaces'] = [],
): OciConfig {
  return { ociVersion: '1.2.0', mounts, linux: { namespaces } }
}

describe("a cgroup mount in the host's cgroup namespace", () => {
  it.each([
    [CGROUP, ['bind', 'private', 'nosuid', 'ro']],
    [{ ...CGROUP, type: 'cgroup2', options: ['rslave'] }, ['bind', 'rslave']],
    [{ destination: '/cgroups', type: 'cgroup' }, ['bind', 'private']],
  ])("is a bind of the host's own: %o", (mount, options) => {
    expect(withHostsCgroups(config([PROC, mount]), FACTS).mounts).toEqual([
      PROC,
      { destination: mount.destination, type: 'bind', source: '/sys/fs/cgroup/unified', options },
    ])
  })

  it('stays as it is where it is a bind already, or changes one', () => {
    const mounts = [
      { ...CGROUP, options: ['rbind'] },
      { ...CGROUP, options: ['remount', 'ro'] },
    ]
    expect(withHostsCgroups(config(mounts), FACTS).mounts).toEqual(mounts)
  })
})

describe('a cgroup mount of a cgroup namespace of its own', () => {
  it.each([{ type: 'cgroup' as const }, { type: 'cgroup' as const, path: '/proc/1/ns/cgroup' }])(
    'is new: %o',
    (namespace) => {
      const own = config([CGROUP], [namespace])
      expect(withHostsCgroups(own, FACTS)).toBe(own)
    },
  )
})
