import { describe, expect, it } from 'vitest'
import { restrictedPaths } from '../../src/security/paths.ts'

describe('restricted paths', () => {
  it('hide the files that tell about the host', () => {
    const { masked, readonly } = restrictedPaths({ cpus: [] })
    expect(masked).toEqual(expect.arrayContaining(['/proc/kcore', '/proc/keys', '/proc/interrupts', '/sys/firmware']))
    expect(masked).toContain('/sys/devices/virtual/powercap')
    expect(readonly).toEqual(['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'])
  })

  it('hide the throttle counters of each processor there is', () => {
    const { masked } = restrictedPaths({ cpus: [0, 3] })
    expect(masked.filter((path) => path.includes('thermal_throttle'))).toEqual([
      '/sys/devices/system/cpu/cpu0/thermal_throttle',
      '/sys/devices/system/cpu/cpu3/thermal_throttle',
    ])
  })

  it('are none after unmask=ALL but for what is masked on request', () => {
    expect(restrictedPaths({ cpus: [0], unmask: ['ALL'] })).toEqual({ masked: [], readonly: [] })
    expect(restrictedPaths({ cpus: [0], unmask: ['all'], mask: ['/proc/cpuinfo:/proc/meminfo/'] })).toEqual({
      masked: ['/proc/cpuinfo', '/proc/meminfo'],
      readonly: [],
    })
  })

  it('open single paths and patterns of both lists', () => {
    const { masked, readonly } = restrictedPaths({ cpus: [0], unmask: ['/proc/acpi:/proc/s*', '/sys/firmware/'] })
    expect(masked).not.toContain('/proc/acpi')
    expect(masked).not.toContain('/proc/scsi')
    expect(masked).not.toContain('/sys/firmware')
    expect(masked).toContain('/proc/kcore')
    expect(readonly).toEqual(['/proc/bus', '/proc/fs', '/proc/irq'])
  })

  it('take a pattern for one component and its other characters literally', () => {
    const before = restrictedPaths({ cpus: [0] })
    expect(restrictedPaths({ cpus: [0], unmask: ['/*'] })).toEqual(before)
    expect(restrictedPaths({ cpus: [0], unmask: ['/proc/kcor.', '/proc/(kcore)'] })).toEqual(before)
  })

  it('name nothing twice', () => {
    const { masked } = restrictedPaths({ cpus: [0], mask: ['/proc/kcore'] })
    expect(masked.filter((path) => path === '/proc/kcore')).toHaveLength(1)
  })
})
