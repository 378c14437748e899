import { TscrunError } from '../../model/errors.ts'
import { CLONE, MOUNT_ATTR, OPEN_TREE_CLONE } from '../../model/linux.ts'
import { MEETING, type Plan, type Step } from '../../model/step.ts'
import { launch } from '../../runtime/launch.ts'
import { errnoName } from '../../syscall/errno.ts'
import { type Argument, trySyscall } from '../../syscall/call.ts'
import type { SyscallName } from '../../syscall/numbers.ts'
import { loadKoffi } from '../../syscall/ffi.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import type { ProbeResult } from './report.ts'

/** All that every container gets; the cgroup namespace is made by the child, as containers do it. */
const NAMESPACES = CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWPID | CLONE.NEWNET

interface ProbeOptions {
  /** First host id of the user namespace; absent: none is made. */
  readonly firstId?: number
  /** A directory to show with the owners of that user namespace. */
  readonly idmap?: string
}

/** Makes namespaces as a container has them, with a process in them that ends at once. Nothing of it is left. */
export async function probeNamespaces(options: ProbeOptions): Promise<ProbeResult> {
  const { started, exited, released } = launch(probePlan(options), { title: 'tscrun: doctor', fds: [] })
  try {
    await Promise.all([started, exited])
    return { ok: true }
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return { ok: false, failed: error.message, errno: error.errno ?? 'unknown' }
  } finally {
    await released
  }
}

function probePlan({ firstId, idmap }: ProbeOptions): Plan {
  const map = `0 ${firstId} ${RANGE_SIZE}\n`
  const user: Step[] = [
    { op: 'write_proc', file: 'uid_map', bytes: map, about: 'map the users' },
    { op: 'write_proc', file: 'gid_map', bytes: map, about: 'map the groups' },
    { op: 'open_proc', fd: 'fd:userns', file: 'ns/user' },
  ]
  const shifted: Step[] = [
    { op: 'open_tree', fd: 'fd:tree', dir: 'cwd', path: idmap ?? '/', flags: OPEN_TREE_CLONE },
    {
      op: 'mount_setattr',
      mount: 'fd:tree',
      at: 0,
      set: MOUNT_ATTR.IDMAP,
      clear: 0,
      propagation: 0,
      userns: 'fd:userns',
      about: `shift the owners of ${idmap}`,
    },
  ]
  const parent: Step[] = [
    {
      op: 'clone',
      flags: NAMESPACES | (firstId === undefined ? 0 : CLONE.NEWUSER),
      cgroup: 'none',
      about: 'make the namespaces',
    },
    ...(firstId === undefined ? [] : user),
    { op: 'notify', point: MEETING.mapped },
    ...(idmap === undefined ? [] : shifted),
    { op: 'notify', point: MEETING.ready },
  ]
  const child: Step[] = [
    { op: 'wait', point: MEETING.mapped },
    ...(firstId === undefined
      ? []
      : [{ op: 'set_ids', uid: 0, gid: 0, about: 'become root of the user namespace' } as const]),
    { op: 'unshare', flags: CLONE.NEWCGROUP, about: 'make the cgroup namespace' },
    { op: 'wait', point: MEETING.ready },
  ]
  return { parent, child, teardown: [], pumps: [], inherited: [] }
}

const NO_FD = -1
const NO_FLAGS = 0x7fff_ffff

/** Arguments that a kernel which has the call refuses with EINVAL before it does anything. */
const REFUSED: readonly (readonly [SyscallName, readonly Argument[]])[] = [
  ['clone3', [0, 0]],
  ['openat2', [NO_FD, 0, 0, 0]],
  ['open_tree', [NO_FD, 0, NO_FLAGS]],
  ['mount_setattr', [NO_FD, 0, NO_FLAGS, 0, 0]],
  ['pidfd_open', [0, 0]],
]

/** Calls that are not there, or that a filter keeps from us. */
export function missingCalls(): { readonly name: string; readonly errno: string }[] {
  return REFUSED.flatMap(([name, args]) => {
    const errno = errnoName(-trySyscall(name, args))
    return errno === 'EINVAL' ? [] : [{ name, errno }]
  })
}

const BPF_PROG_LOAD = 5
const BPF_PROG_TYPE_CGROUP_DEVICE = 15

/** Loads a device program that allows everything, and drops it. Answers undefined, or the errno. */
export function probeDeviceFilter(): string | undefined {
  // r0 = 1; exit (linux/bpf.h)
  const instructions = Buffer.from([0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
  const license = Buffer.from('Apache-2.0\0')
  const koffi = loadKoffi()
  const attributes = Buffer.alloc(48)
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0)
  attributes.writeUInt32LE(instructions.length / 8, 4)
  attributes.writeBigUInt64LE(koffi.address(instructions), 8)
  attributes.writeBigUInt64LE(koffi.address(license), 16)
  const fd = trySyscall('bpf', [BPF_PROG_LOAD, attributes, attributes.length])
  if (fd < 0) return errnoName(-fd)
  trySyscall('close', [fd])
  return undefined
}
