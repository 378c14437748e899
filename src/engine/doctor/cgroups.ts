import type { CgroupFacts } from '../../model/facts.ts'
import type { DoctorCheck } from '../api.ts'
import type { HostReport } from './report.ts'

/** Controllers that flags of `run` ask for, and which. */
const CONTROLLERS = {
  memory: '--memory, --memory-swap, --memory-reservation',
  cpu: '--cpus, --cpu-shares, --cpu-quota',
  cpuset: '--cpuset-cpus, --cpuset-mems',
  io: '--blkio-weight, --device-read-bps and the like',
  pids: '--pids-limit',
  hugetlb: '--cgroup-conf hugetlb.*',
} as const

const UNIFIED = 'boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all on the kernel command line'

/** Whether limits can be set here, controller by controller. */
export function cgroupChecks({ facts: { cgroup }, nesting: { inside }, deviceFilter }: HostReport): DoctorCheck[] {
  return [
    hierarchy(cgroup, inside !== undefined),
    ...Object.entries(CONTROLLERS).map(([name, flags]) => controller(cgroup, name, flags, inside !== undefined)),
    deviceCheck(cgroup, deviceFilter),
  ]
}

function hierarchy(cgroup: CgroupFacts, nested: boolean): DoctorCheck {
  const name = 'cgroups'
  const { mode, mountpoint, v1Controllers } = cgroup
  switch (mode) {
    case 'none': {
      const remedy = nested
        ? 'start the container around tscrun with --privileged'
        : 'mount -t cgroup2 cgroup2 /sys/fs/cgroup'
      return { name, result: 'warn', detail: 'no cgroup filesystem is mounted: containers have no limits', remedy }
    }
    case 'v1':
      return {
        name,
        result: 'warn',
        detail: `only version 1 (${v1Controllers.join(' ')}): containers have no limits`,
        remedy: UNIFIED,
      }
    case 'unified':
    case 'hybrid':
      if (cgroup.readonly) {
        const remedy = nested
          ? 'start the container around tscrun with --privileged and --cgroupns=private'
          : `mount -o remount,rw ${mountpoint ?? '/sys/fs/cgroup'}`
        return { name, result: 'warn', detail: `${mountpoint} is read-only: containers have no limits`, remedy }
      }
      if (mode === 'unified') return { name, result: 'ok', detail: `version 2 at ${mountpoint}` }
      return {
        name,
        result: 'warn',
        detail: `version 2 at ${mountpoint}, but version 1 holds ${v1Controllers.join(' ')}`,
        remedy: UNIFIED,
      }
    default:
      return mode satisfies never
  }
}

function controller(cgroup: CgroupFacts, controllerName: string, flags: string, nested: boolean): DoctorCheck {
  const name = `cgroup ${controllerName}`
  if (cgroup.controllers.includes(controllerName) && !cgroup.readonly)
    return { name, result: 'ok', detail: 'can be limited' }
  const lost = `without it: ${flags}`
  if (cgroup.controllers.includes(controllerName)) {
    return {
      name,
      result: 'warn',
      detail: `${cgroup.mountpoint} is read-only; ${lost}`,
      remedy: `mount -o remount,rw ${cgroup.mountpoint}`,
    }
  }
  if (cgroup.v1Controllers.includes(controllerName)) {
    const v1Name = controllerName === 'io' ? 'blkio' : controllerName
    const remedy = `boot with cgroup_no_v1=${v1Name} (or all) on the kernel command line`
    return { name, result: 'warn', detail: `bound to version 1; ${lost}`, remedy }
  }
  return { name, result: 'warn', detail: `not there; ${lost}`, remedy: remedyForMissing(controllerName, nested) }
}

const KERNEL_OPTIONS: Readonly<Record<string, string>> = {
  memory: 'CONFIG_MEMCG',
  cpu: 'CONFIG_CFS_BANDWIDTH',
  cpuset: 'CONFIG_CPUSETS',
  io: 'CONFIG_BLK_CGROUP',
  pids: 'CONFIG_CGROUP_PIDS',
  hugetlb: 'CONFIG_CGROUP_HUGETLB',
}

function remedyForMissing(controllerName: string, nested: boolean): string {
  if (nested)
    return 'the host must hand it on: start the container around tscrun with --privileged and --cgroupns=private'
  const option = `use a kernel with ${KERNEL_OPTIONS[controllerName]}=y`
  return controllerName === 'memory'
    ? `boot with cgroup_enable=memory on the kernel command line, or ${option}`
    : option
}

function deviceCheck(cgroup: CgroupFacts, deviceFilter: string | undefined): DoctorCheck {
  const name = 'device filter'
  if (deviceFilter === 'not tried') return { name, result: 'ok', detail: 'not tried: that needs root' }
  if (deviceFilter !== undefined) {
    const remedy =
      deviceFilter === 'EPERM'
        ? 'start the container around tscrun with --privileged, or with --cap-add BPF'
        : 'use a kernel with CONFIG_CGROUP_BPF=y'
    return { name, result: 'warn', detail: `bpf: ${deviceFilter}: devices are held off by capabilities only`, remedy }
  }
  if (cgroup.mode === 'unified' || cgroup.mode === 'hybrid')
    return { name, result: 'ok', detail: 'eBPF programs are taken' }
  return {
    name,
    result: 'warn',
    detail: 'needs version 2 of cgroups: devices are held off by capabilities only',
    remedy: UNIFIED,
  }
}
