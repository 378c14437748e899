import type { OciConfig } from '../model/config.ts'
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
export function outsideSteps(config: OciConfig, selection: NamespaceSelection): OutsideSteps {
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
  born.push(...resctrlSteps(config))
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

function resctrlSteps({ linux }: OciConfig): Step[] {
  const { intelRdt } = linux ?? {}
  if (intelRdt === undefined) return []
  const { closID = '/', schemata = [], l3CacheSchema, memBwSchema } = intelRdt
  const lines = [l3CacheSchema, memBwSchema, ...schemata].filter((line) => line !== undefined)
  const about = `linux.intelRdt ${closID}`
  const inGroup = { flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0, about }
  const steps: Step[] = [{ op: 'open', fd: 'fd:resctrl', dir: 'cwd', path: RESCTRL, ...inGroup }]
  // A group that nothing is written to must be there already (config-linux.md, IntelRdt).
  if (closID !== '/' && lines.length > 0) {
    const because = 'containers may share a group'
    steps.push({ op: 'mkdir', dir: 'fd:resctrl', path: closID, mode: 0o755, tolerate: ['EEXIST'], because, about })
  }
  const path = closID === '/' ? '.' : closID
  steps.push({ op: 'open', fd: 'fd:closid', dir: 'fd:resctrl', path, ...inGroup })
  for (const line of lines) {
    steps.push({ op: 'write_file', dir: 'fd:closid', path: 'schemata', bytes: `${line}\n`, about: `${about}: ${line}` })
  }
  return [...steps, { op: 'write_pid', dir: 'fd:closid', path: 'tasks', about }]
}
