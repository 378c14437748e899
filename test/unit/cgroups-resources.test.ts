import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { weightOfShares } from '../../src/cgroups/cpu.ts'
import { neededControllers, requireControllers, resourceWrites } from '../../src/cgroups/resources.ts'
import type { OciResources } from '../../src/model/config.ts'
import type { CgroupFacts } from '../../src/model/facts.ts'

/** `file=value` of each write. */
function lines(resources: OciResources, minimumMemory?: number): string[] {
  const options = minimumMemory === undefined ? {} : { minimumMemory }
  return resourceWrites(resources, options).map(({ file, value }) => `${file}=${value}`)
}

const refused = (resources: OciResources) => {
  try {
    resourceWrites(resources)
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_CONFIG' })
    expect((error as Error).message).not.toContain('\n')
    return (error as Error).message
  }
  return 'accepted'
}

const MIB = 2 ** 20

describe('memory limits', () => {
  it('are memory.max, and swap without the memory it was counted with', () => {
    expect(lines({ memory: { limit: 64 * MIB, swap: 96 * MIB } })).toEqual([
      `memory.swap.max=${32 * MIB}`,
      `memory.max=${64 * MIB}`,
    ])
    expect(lines({ memory: { limit: 64 * MIB, swap: 64 * MIB } })).toContain('memory.swap.max=0')
    expect(lines({ memory: { limit: 64 * MIB } })).toEqual([`memory.max=${64 * MIB}`])
  })

  it('are max where unlimited', () => {
    expect(lines({ memory: { limit: -1 } })).toEqual(['memory.swap.max=max', 'memory.max=max'])
    expect(lines({ memory: { limit: 64 * MIB, swap: -1 } })).toContain('memory.swap.max=max')
    expect(lines({ memory: { swap: -1 } })).toEqual(['memory.swap.max=max'])
    expect(lines({ memory: {} })).toEqual([])
  })

  it('reserve as protection', () => {
    expect(lines({ memory: { reservation: 8 * MIB } })).toEqual([`memory.low=${8 * MIB}`])
  })

  it('below what a container needs are refused with the minimum, but not to an OCI runtime', () => {
    expect(refused({ memory: { limit: 1 } })).toBe('memory limit: 1 bytes is below the minimum of 6 MiB')
    expect(lines({ memory: { limit: 4096 } }, 0)).toEqual(['memory.max=4096'])
  })

  it('that contradict each other are refused', () => {
    expect(refused({ memory: { limit: 64 * MIB, swap: 32 * MIB } })).toContain('is below the memory limit')
    expect(refused({ memory: { swap: 32 * MIB } })).toBe('memory+swap limit: set without a memory limit')
    expect(refused({ memory: { limit: -1, swap: 32 * MIB } })).toContain('set without a memory limit')
    expect(refused({ memory: { limit: 64 * MIB, reservation: 65 * MIB } })).toContain('is above the memory limit')
    expect(refused({ memory: { limit: -2 } })).toContain('nor -1 for unlimited')
    expect(refused({ memory: { limit: 7.5 * MIB + 0.5 } })).toContain('not a whole number')
  })

  it('tolerate a kernel that does not count swap', () => {
    const [swap] = resourceWrites({ memory: { limit: 64 * MIB, swap: 64 * MIB } })
    expect(swap?.optional).toMatch(/swap accounting/)
  })
})

describe('processor limits', () => {
  it('are quota and period in one file', () => {
    expect(lines({ cpu: { quota: 50_000 } })).toEqual(['cpu.max=50000 100000'])
    expect(lines({ cpu: { quota: 25_000, period: 50_000 } })).toEqual(['cpu.max=25000 50000'])
    expect(lines({ cpu: { quota: -1 } })).toEqual(['cpu.max=max 100000'])
    expect(lines({ cpu: { period: 20_000 } })).toEqual(['cpu.max=max 20000'])
    expect(lines({ cpu: { quota: 50_000, burst: 10_000 } })).toEqual(['cpu.max=50000 100000', 'cpu.max.burst=10000'])
    expect(lines({ cpu: {} })).toEqual([])
  })

  it.each([
    { quota: 999 },
    { quota: -2 },
    { period: 999 },
    { period: 1_000_001 },
    { quota: 1000, burst: 1001 },
    { burst: 1 },
    { idle: 2 },
    { shares: -1 },
    { shares: 1.5 },
    { cpus: '3-1' },
    { cpus: '0,' },
    { cpus: 'a' },
    { cpus: '0-4294967295' },
    { mems: '0\n' },
  ])('that the kernel would refuse are refused before: %j', (cpu) => {
    expect(refused({ cpu })).not.toBe('accepted')
  })

  it('convert shares so that ends and defaults meet', () => {
    expect([1, 2, 1024, 262_144, 2 ** 40].map(weightOfShares)).toEqual([1, 1, 100, 10_000, 10_000])
    // As seen in a container of runc 1.4.0-rc.1 (opencontainers/runc issue 4896).
    expect(weightOfShares(2000)).toBe(170)
    expect(lines({ cpu: { shares: 1024 } })).toEqual(['cpu.weight=100'])
  })

  it('convert more shares to no less weight', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 262_143 }), (shares) => {
        const weight = weightOfShares(shares)
        expect(weight).toBeGreaterThanOrEqual(1)
        expect(weightOfShares(shares + 1)).toBeGreaterThanOrEqual(weight)
      }),
    )
  })

  it('give an idle group no weight, which the kernel would refuse', () => {
    expect(lines({ cpu: { idle: 1, shares: 512 } })).toEqual(['cpu.idle=1'])
    expect(lines({ cpu: { idle: 0, shares: 512 } })).toEqual(['cpu.idle=0', 'cpu.weight=59'])
  })

  it('pin to processors and nodes', () => {
    expect(lines({ cpu: { cpus: '0-3,7', mems: '0' } })).toEqual(['cpuset.cpus=0-3,7', 'cpuset.mems=0'])
    expect(lines({ cpu: { cpus: '' } })).toEqual([])
  })
})

describe('the other limits', () => {
  it('on processes are pids.max', () => {
    expect([100, -1, 0, 2 ** 30].flatMap((limit) => lines({ pids: { limit } }))).toEqual([
      'pids.max=100',
      'pids.max=max',
      'pids.max=max',
      'pids.max=max',
    ])
    expect(refused({ pids: { limit: -5 } })).toContain('pids limit')
  })

  it('on disks are one line a device', () => {
    const disk = { major: 8, minor: 16 }
    const resources: OciResources = {
      blockIO: {
        throttleReadBpsDevice: [{ ...disk, rate: 1048576 }],
        throttleWriteIOPSDevice: [
          { ...disk, rate: 100 },
          { major: 259, minor: 0, rate: 0 },
        ],
      },
    }
    expect(lines(resources)).toEqual(['io.max=8:16 rbps=1048576 wiops=100', 'io.max=259:0 wiops=max'])
    expect(refused({ blockIO: { throttleReadBpsDevice: [{ ...disk, rate: -1 }] } })).toContain('device rate')
    expect(refused({ blockIO: { throttleReadBpsDevice: [{ major: 9999, minor: 0, rate: 1 }] } })).toContain(
      'block device',
    )
  })

  it('by weight carry both files that may hold it', () => {
    expect(resourceWrites({ blockIO: { weight: 500, weightDevice: [{ major: 8, minor: 0, weight: 10 }] } })).toEqual([
      { controller: 'io', file: 'io.bfq.weight', value: '500', orElse: { file: 'io.weight', value: 'default 4950' } },
      { controller: 'io', file: 'io.bfq.weight', value: '8:0 10', orElse: { file: 'io.weight', value: '8:0 1' } },
    ])
    expect(refused({ blockIO: { weight: 9 } })).toBe('blkio weight: 9 is not a whole number of 10 to 1000')
    expect(refused({ blockIO: { weight: 1001 } })).toContain('blkio weight')
  })

  it('on huge pages count used and reserved ones', () => {
    expect(lines({ hugepageLimits: [{ pageSize: '2MB', limit: 4 * MIB }] })).toEqual([
      `hugetlb.2MB.max=${4 * MIB}`,
      `hugetlb.2MB.rsvd.max=${4 * MIB}`,
    ])
    for (const pageSize of ['2mb', '2M', '../x', '2MB.max', '']) {
      expect(refused({ hugepageLimits: [{ pageSize, limit: 1 }] })).toContain('no page size')
    }
  })

  it('on RDMA are one line a device', () => {
    expect(lines({ rdma: { mlx5_0: { hcaHandles: 3, hcaObjects: 10_000 }, mlx4_0: { hcaObjects: 1 } } })).toEqual([
      'rdma.max=mlx5_0 hca_handle=3 hca_object=10000',
      'rdma.max=mlx4_0 hca_object=1',
    ])
    expect(refused({ rdma: { 'a b': {} } })).toContain('no device name')
  })

  it("by file name come last and may be any controller's", () => {
    const resources = { memory: { limit: 64 * MIB }, unified: { 'memory.high': '50000000', 'hugetlb.2MB.max': '0' } }
    expect(lines(resources)).toEqual([`memory.max=${64 * MIB}`, 'memory.high=50000000', 'hugetlb.2MB.max=0'])
    expect(lines({ unified: { 'io.max': '8:0 rbps=1\n\n8:16 rbps=2\n' } })).toEqual([
      'io.max=8:0 rbps=1',
      'io.max=8:16 rbps=2',
    ])
    expect(resourceWrites({ unified: { 'cgroup.max.depth': '2' } })[0]?.controller).toBe('cgroup')
  })

  it.each([
    'memory',
    '../memory.max',
    'memory/max',
    'Memory.max',
    '.max',
    'memory.',
    'memory..max',
    'cgroup.procs',
    'cgroup.kill',
    'cgroup.subtree_control',
    'cgroup.threads',
    'cgroup.type',
    'cgroup.freeze',
    'memory.max\n',
    '__proto__',
    'memory.max\0',
  ])('by file name are refused where that is no limit: %j', (file) => {
    expect(refused({ unified: Object.fromEntries([[file, '1']]) })).toMatch(/^cgroup file /)
  })

  it('by file name need a plain value', () => {
    for (const value of ['', '\n', '1\0', 'é'])
      expect(refused({ unified: { 'memory.max': value } })).toMatch(/^cgroup file memory.max: /)
  })
})

describe('controllers', () => {
  const hybrid: CgroupFacts = {
    mode: 'hybrid',
    mountpoint: '/sys/fs/cgroup/unified',
    readonly: false,
    own: '/',
    controllers: ['hugetlb'],
    v1Controllers: ['cpu', 'memory'],
  }

  it('needed are those of the files written', () => {
    const writes = resourceWrites({
      pids: { limit: 1 },
      cpu: { quota: 1000, cpus: '0' },
      unified: { 'cgroup.max.depth': '1', 'cpu.pressure': '0' },
    })
    expect(neededControllers(writes)).toEqual(['cpuset', 'cpu', 'pids'])
  })

  it('that are there suffice', () => {
    expect(() =>
      requireControllers(resourceWrites({ hugepageLimits: [{ pageSize: '2MB', limit: 0 }] }), hybrid),
    ).not.toThrow()
    expect(() =>
      requireControllers([], { mode: 'none', readonly: false, own: '/', controllers: [], v1Controllers: [] }),
    ).not.toThrow()
  })

  it('bound to cgroup v1 are named', () => {
    // As the command line asks: --memory limits swap too.
    const writes = resourceWrites({ memory: { limit: 64 * MIB, swap: 128 * MIB } })
    expect(() => requireControllers(writes, hybrid)).toThrow(
      expect.objectContaining({
        code: 'CONTROLLER_UNAVAILABLE',
        message: 'limit memory.max: the memory controller is bound to cgroup v1 on this host',
      }),
    )
  })

  it('that are nowhere are named too', () => {
    const writes = resourceWrites({ pids: { limit: 5 } })
    expect(() => requireControllers(writes, hybrid)).toThrow(
      "limit pids.max: the pids controller is not in this host's",
    )
    const none: CgroupFacts = { mode: 'none', readonly: false, own: '/', controllers: [], v1Controllers: [] }
    expect(() => requireControllers(writes, none)).toThrow(
      'limit pids.max: this host has no cgroup v2 hierarchy mounted',
    )
  })
})
