import type { OciConfig, OciIntelRdt } from '../model/config.ts'
import { O } from '../model/linux.ts'
import type { Step } from '../model/step.ts'
import type { NamespaceSelection } from '../namespaces/select.ts'
import { rlimitNumber, rlimitValue } from '../security/rlimits.ts'

/** What the stage does for a newborn child with rights that this one does not have. */
export interface OutsideSteps {
  /** Before the stage joins any namespace. */
  readonly first: readonly Step[]
  /** The child is there and has its namespaces. */
  readonly born: readonly Step[]
}

/** Network devices, limits above those of the caller, the cache and memory bandwidth of linux.intelRdt. */
export function outsideSteps(id: string, config: OciConfig, selection: NamespaceSelection): OutsideSteps {
  const devices = Object.entries(config.linux?.netDevices ?? {})
  const first: Step[] = devices.length === 0 ? [] : [{ op: 'open_netlink', fd: 'fd:netlink' }]
  const born: Step[] = devices.map(([name, device]): Step => {
    const rename = device.name ?? name
    return {
      op: 'move_link',
      netlink: 'fd:netlink',
      name,
      rename,
      about: `linux.netDevices: move ${name} into the container${rename === name ? '' : ` as ${rename}`}`,
      hint: 'is there an interface of this name on the host, and none in the container?',
    }
  })
  if (selection.ownUser) born.push(...limitSteps(config))
  born.push(...resctrlSteps(id, config))
  return { first, born }
}

function limitSteps(config: OciConfig): Step[] {
  return (config.process?.rlimits ?? []).map(({ type, hard }): Step => {
    const about = `raise the hard limit of ${type}`
    const hint = 'a hard limit can only be lowered without CAP_SYS_RESOURCE'
    return { op: 'raise_limit', resource: rlimitNumber(type), hard: rlimitValue(type, hard), about, hint }
  })
}

/** Where Linux has the groups of processes that share a part of the cache (Documentation/arch/x86/resctrl.rst). */
export const RESCTRL = '/sys/fs/resctrl'

/** The group of a container, as a path below RESCTRL: `.` is that of the host (config-linux.md, IntelRdt). */
export function resctrlPath(id: string, { closID = id }: OciIntelRdt): string {
  return closID === '/' ? '.' : closID
}

/** Of l3CacheSchema; the memory bandwidth is told by memBwSchema alone. */
export function cacheLines({ l3CacheSchema = '' }: OciIntelRdt): string[] {
  return l3CacheSchema.split('\n').filter((line) => line !== '' && !line.startsWith('MB:'))
}

/** What counts a container alone, as a path below its group; undefined where nobody asks for that. */
export function resctrlMonitor(id: string, rdt: OciIntelRdt): string | undefined {
  // The last two are what the first was called before version 1.3.
  const asked = rdt.enableMonitoring === true || rdt.enableCMT === true || rdt.enableMBM === true
  return asked ? `mon_groups/${id}` : undefined
}

function resctrlSteps(id: string, { linux }: OciConfig): Step[] {
  const { intelRdt } = linux ?? {}
  if (intelRdt === undefined) return []
  const { closID, schemata = [], memBwSchema } = intelRdt
  // Cache and memory bandwidth are one write; the whole schemata come last.
  const shares = [...cacheLines(intelRdt), ...(memBwSchema === undefined ? [] : [memBwSchema])]
  const parts = [shares, schemata].filter((lines) => lines.length > 0)
  const path = resctrlPath(id, intelRdt)
  const about = `linux.intelRdt ${closID ?? path}`
  const inGroup = { flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0, about }
  const steps: Step[] = [{ op: 'open', fd: 'fd:resctrl', dir: 'cwd', path: RESCTRL, ...inGroup }]
  // A group that is named, and that nothing is written to, must be there already.
  if (path !== '.' && (closID === undefined || parts.length > 0)) {
    const because = 'containers may share a group'
    steps.push({ op: 'mkdir', dir: 'fd:resctrl', path, mode: 0o755, tolerate: ['EEXIST'], because, about })
  }
  steps.push({ op: 'open', fd: 'fd:closid', dir: 'fd:resctrl', path, ...inGroup })
  for (const lines of parts) {
    const bytes = lines.map((line) => `${line}\n`).join('')
    steps.push({ op: 'write_file', dir: 'fd:closid', path: 'schemata', bytes, about: `${about}: ${lines.join(', ')}` })
  }
  steps.push({ op: 'write_pid', dir: 'fd:closid', path: 'tasks', about })
  const monitor = resctrlMonitor(id, intelRdt)
  if (monitor !== undefined) {
    const counted = `${about}: monitoring`
    steps.push({ op: 'mkdir', dir: 'fd:closid', path: monitor, mode: 0o755, about: counted })
    steps.push({ op: 'write_pid', dir: 'fd:closid', path: `${monitor}/tasks`, about: counted })
  }
  return steps
}
