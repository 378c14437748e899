import { TscrunError } from '../model/errors.ts'
import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { loadKoffi } from '../syscall/ffi.ts'
import { closeFd } from '../syscall/process.ts'

/** Commands, types and flags of bpf(2) (linux/bpf.h). */
const BPF = { PROG_LOAD: 5, PROG_ATTACH: 8, PROG_GET_FD_BY_ID: 13, PROG_QUERY: 16 } as const
const CGROUP_DEVICE_PROGRAM = 15
const CGROUP_DEVICE_HOOK = 6
const ALLOW_MULTI = 2
const REPLACE = 4
const INSTRUCTION_BYTES = 8
const MOST_PROGRAMS = 64

/**
 * Puts a device filter (compileDeviceFilter) in the place of the one that a cgroup, open as `cgroup`, has; at no moment
 * it has none. Throws SyscallError, or KERNEL_REFUSED where others have attached filters there, too.
 */
export function replaceDeviceFilter(cgroup: number, program: Uint8Array): void {
  const [old, ...more] = attachedPrograms(cgroup)
  if (more.length > 0) {
    throw new TscrunError('KERNEL_REFUSED', `bpf: ${more.length + 1} device filters are attached to the cgroup`, {
      hint: 'somebody else has attached one: which of them is ours cannot be known',
    })
  }
  const loaded = loadProgram(program)
  try {
    attach(cgroup, loaded, old)
  } finally {
    closeFd(loaded)
  }
}

function attachedPrograms(cgroup: number): number[] {
  const ids = Buffer.alloc(4 * MOST_PROGRAMS)
  const query = Buffer.alloc(64)
  query.writeUInt32LE(cgroup, 0)
  query.writeUInt32LE(CGROUP_DEVICE_HOOK, 4)
  query.writeBigUInt64LE(loadKoffi().address(ids), 16)
  query.writeUInt32LE(MOST_PROGRAMS, 24)
  syscall('bpf', [BPF.PROG_QUERY, query, query.length], 'device filters')
  return Array.from({ length: query.readUInt32LE(24) }, (_, index) => ids.readUInt32LE(4 * index))
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
  if (old === undefined) return void syscall('bpf', [BPF.PROG_ATTACH, request, request.length], 'device filter')
  const byId = Buffer.alloc(16)
  byId.writeUInt32LE(old, 0)
  const replaced = syscall('bpf', [BPF.PROG_GET_FD_BY_ID, byId, byId.length], 'device filter')
  try {
    request.writeUInt32LE(replaced, 16)
    syscall('bpf', [BPF.PROG_ATTACH, request, request.length], 'device filter')
  } finally {
    closeFd(replaced)
  }
}
