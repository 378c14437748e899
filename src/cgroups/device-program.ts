import { TscrunError } from '../model/errors.ts'
import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError } from '../syscall/errno.ts'
import { loadKoffi } from '../syscall/ffi.ts'
import { closeFd } from '../syscall/process.ts'

/** Commands, types and flags of bpf(2) (linux/bpf.h). */
const BPF = { PROG_LOAD: 5, PROG_ATTACH: 8, PROG_GET_FD_BY_ID: 13, OBJ_GET_INFO_BY_FD: 15, PROG_QUERY: 16 } as const
const CGROUP_DEVICE_PROGRAM = 15
const CGROUP_DEVICE_HOOK = 6
const ALLOW_MULTI = 2
const REPLACE = 4
const INSTRUCTION_BYTES = 8
const MOST_PROGRAMS = 64
/** struct bpf_prog_info as far as its tag: u32 type, u32 id, u8 tag[8]. */
const INFO_BYTES = 16
const TAG_AT = 8
const ENOENT = 2

/**
 * Puts a device filter (compileDeviceFilter) in the place of `before`, the one that we attached to a cgroup, open as
 * `cgroup`; at no moment it has none of ours. Others may have attached filters there, too, as systemd does for a unit with
 * DevicePolicy: those stay, and the kernel asks all of them. Ours is known by its tag, a digest of its code.
 * Throws SyscallError, or KERNEL_REFUSED where it cannot be told from several others.
 */
export function replaceDeviceFilter(cgroup: number, program: Uint8Array, before: Uint8Array | undefined): void {
  const opened: number[] = []
  const load = (code: Uint8Array): number => {
    const fd = loadProgram(code)
    opened.push(fd)
    return fd
  }
  try {
    const wanted = load(program)
    const attached = attachedPrograms(cgroup, opened)
    const tag = tagOf(wanted)
    const ours = before === undefined ? undefined : oursAmong(attached, [tagOf(load(before)), tag])
    if (ours === undefined || tagOf(ours) !== tag) attach(cgroup, wanted, ours)
  } finally {
    for (const fd of opened) closeFd(fd)
  }
}

/**
 * Undefined where nothing is attached. A single one is ours whatever its tag: another version has compiled it. Of several
 * it is the only one with the first of `tags` that any has: the later ones are of an update that was killed behind its work.
 */
function oursAmong(attached: readonly number[], tags: readonly string[]): number | undefined {
  if (attached.length < 2) return attached[0]
  const theirs = attached.map((fd) => ({ fd, tag: tagOf(fd) }))
  const found = tags.map((tag) => theirs.filter((each) => each.tag === tag)).find((same) => same.length > 0)
  const [ours] = found ?? []
  if (ours !== undefined && found?.length === 1) return ours.fd
  throw new TscrunError('KERNEL_REFUSED', `bpf: ${attached.length} device filters are attached to the cgroup`, {
    hint: 'somebody else has attached some: which of them is ours cannot be known',
  })
}

/** Descriptors of the filters of a cgroup itself; the caller closes `opened`, to which each is added. */
function attachedPrograms(cgroup: number, opened: number[]): number[] {
  const ids = Buffer.alloc(4 * MOST_PROGRAMS)
  const query = Buffer.alloc(64)
  query.writeUInt32LE(cgroup, 0)
  query.writeUInt32LE(CGROUP_DEVICE_HOOK, 4)
  query.writeBigUInt64LE(loadKoffi().address(ids), 16)
  query.writeUInt32LE(MOST_PROGRAMS, 24)
  syscall('bpf', [BPF.PROG_QUERY, query, query.length], 'device filters')
  const programs: number[] = []
  for (let index = 0; index < query.readUInt32LE(24); index++) {
    const fd = openProgram(ids.readUInt32LE(4 * index))
    if (fd === undefined) continue
    opened.push(fd)
    programs.push(fd)
  }
  return programs
}

/** Undefined where it has gone meanwhile: systemd attaches a new filter first, and then takes its old one back. */
function openProgram(id: number): number | undefined {
  const byId = Buffer.alloc(16)
  byId.writeUInt32LE(id, 0)
  const fd = trySyscall('bpf', [BPF.PROG_GET_FD_BY_ID, byId, byId.length])
  if (fd === -ENOENT) return undefined
  if (fd < 0) throw new SyscallError('bpf', -fd, 'device filter')
  return fd
}

/** The kernel's digest of a program's code, in hexadecimal. */
function tagOf(program: number): string {
  const info = Buffer.alloc(INFO_BYTES)
  const request = Buffer.alloc(16)
  request.writeUInt32LE(program, 0)
  request.writeUInt32LE(INFO_BYTES, 4)
  request.writeBigUInt64LE(loadKoffi().address(info), 8)
  syscall('bpf', [BPF.OBJ_GET_INFO_BY_FD, request, request.length], 'device filter')
  return info.toString('hex', TAG_AT)
}

/** A descriptor of a filter that the kernel has verified, to be attached as often as one likes. Throws SyscallError. */
export function loadProgram(program: Uint8Array): number {
  const license = cString('Apache-2.0')
  const load = Buffer.alloc(128)
  load.writeUInt32LE(CGROUP_DEVICE_PROGRAM, 0)
  load.writeUInt32LE(program.length / INSTRUCTION_BYTES, 4)
  load.writeBigUInt64LE(loadKoffi().address(program), 8)
  load.writeBigUInt64LE(loadKoffi().address(license), 16)
  // EAGAIN where a signal is pending while the program is looked at (bpf(2)).
  for (let tries = 0; tries < 5; tries++) {
    const fd = trySyscall('bpf', [BPF.PROG_LOAD, load, load.length])
    if (fd >= 0) return fd
  }
  return syscall('bpf', [BPF.PROG_LOAD, load, load.length], 'device filter')
}

function attach(cgroup: number, program: number, old: number | undefined): void {
  const request = Buffer.alloc(64)
  request.writeUInt32LE(cgroup, 0)
  request.writeUInt32LE(program, 4)
  request.writeUInt32LE(CGROUP_DEVICE_HOOK, 8)
  request.writeUInt32LE(old === undefined ? ALLOW_MULTI : ALLOW_MULTI | REPLACE, 12)
  request.writeUInt32LE(old ?? 0, 16)
  syscall('bpf', [BPF.PROG_ATTACH, request, request.length], 'device filter')
}
