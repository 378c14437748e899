import type { CgroupPlacement, CgroupWrite } from '../model/launch.ts'
import { O } from '../model/linux.ts'
import { MEETING, type Step } from '../model/step.ts'

export interface CgroupSteps {
  readonly make: readonly Step[]
  /** Right after the clone, where it was not born into its cgroup: systemd makes one only around a process. */
  readonly adopt: readonly Step[]
  /** Before the command runs: the device filter. */
  readonly guard: readonly Step[]
  /** Before the command runs: whose the cgroup's files are. */
  readonly delegate: readonly Step[]
  readonly remove: readonly Step[]
}

/** Files that a container must own to divide its cgroup further (cgroup-v2.rst, Delegation); the limits stay ours. */
const DELEGATED = ['', 'cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control'] as const

/** Makes the cgroup with its limits before anyone is in it, so that the first process is born under them. */
export function cgroupSteps(
  placement: CgroupPlacement | undefined,
  owner: { readonly rootUid: number; readonly rootGid: number; readonly delegate: boolean },
): CgroupSteps {
  if (placement === undefined) return { make: [], adopt: [], guard: [], delegate: [], remove: [] }
  const { parent, name } = placement
  const path = `${parent}/${name}`
  const guard: Step[] = []
  const open: Step[] = [
    { op: 'open', fd: 'fd:cgroups', dir: 'cwd', path: parent, flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0 },
    ...(placement.scope === undefined
      ? [{ op: 'mkdir', dir: 'fd:cgroups', path: name, mode: 0o755, about: `make the cgroup ${path}` } as const]
      : []),
    {
      op: 'open',
      fd: 'fd:cgroup',
      dir: 'fd:cgroups',
      path: name,
      flags: O.DIRECTORY | O.NOFOLLOW,
      mode: 0,
      resolve: 0,
    },
  ]
  const steps = [...open, ...placement.writes.map((write) => writeStep(path, write))]
  if (placement.deviceFilter !== undefined) {
    const words = { cgroup: 'fd:cgroup', about: 'attach the device filter' } as const
    const program = placement.deviceFilter
    guard.push(
      typeof program === 'string'
        ? { op: 'device_program', program, ...words }
        : { op: 'device_filter', program, ...words },
    )
  }
  const delegated = owner.delegate && owner.rootUid !== 0 ? DELEGATED : []
  const delegate = delegated.map((file): Step => {
    return { op: 'chown', dir: 'fd:cgroup', path: file, uid: owner.rootUid, gid: owner.rootGid }
  })
  const meet: Step = { op: 'meet_caller', point: MEETING.cloned, about: `have systemd make ${placement.scope ?? ''}` }
  return {
    make: placement.scope === undefined ? steps : [],
    adopt: placement.scope === undefined ? [] : [meet, ...steps],
    guard,
    delegate,
    remove: [{ op: 'cgroup_remove', parent: 'fd:cgroups', name, about: `remove the cgroup ${path}` }],
  }
}

function writeStep(directory: string, write: CgroupWrite): Step {
  const { file, value, orElse, optional } = write
  const notes = {
    about: `write ${JSON.stringify(value)} to ${directory}/${file}`,
    hint: `the kernel refuses this value of ${file}`,
    ...(optional === undefined ? {} : ({ tolerate: ['ENOENT'], because: optional } as const)),
  }
  if (orElse === undefined) return { op: 'write_file', dir: 'fd:cgroup', path: file, bytes: value, ...notes }
  return {
    op: 'write_file_or',
    dir: 'fd:cgroup',
    path: file,
    bytes: value,
    other: orElse.file,
    otherBytes: orElse.value,
    ...notes,
  }
}
