import { chdir, getuid } from 'node:process'
import { TscrunError } from '../../model/errors.ts'
import { cString, syscall, trySyscall } from '../../syscall/call.ts'
import { SyscallError } from '../../syscall/errno.ts'

const CLONE_NEWNS = 0x00020000
const CLONE_NEWIPC = 0x08000000
const CLONE_NEWUTS = 0x04000000
const CLONE_NEWNET = 0x40000000
const MS_BIND = 0x1000
const MS_REC = 0x4000
const MS_PRIVATE = 0x40000
const MNT_DETACH = 2
const PR_SET_PDEATHSIG = 1
const PR_SET_NO_NEW_PRIVS = 38
const PR_SET_DUMPABLE = 4
const SIGKILL = 9
const RLIMIT_FSIZE = 1
const RLIMIT_CORE = 4

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN (for trusted.overlay attributes), MKNOD, SETFCAP. */
const KEPT_CAPABILITIES = [0, 1, 3, 4, 21, 27, 31]

/** This process ends when the one that started it does. */
export function dieWithParent(): void {
  syscall('prctl', [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0])
}

/**
 * Makes `directory` all this process can see: own mount and network namespaces, its root the directory, the host's
 * tree detached, only the capabilities that writing files needs. Must run before anything uses libuv's
 * thread pool: threads made before would still see the host (unshare(2) is per thread, later threads inherit).
 */
export function confineTo(directory: string, maxFileSize: number): void {
  if (getuid?.() !== 0) {
    throw new TscrunError('PERMISSION_DENIED', 'unpack layer: only root can write the files of other owners', {
      hint: 'run it with sudo',
    })
  }
  syscall('unshare', [CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS])
  mount('none', '/', MS_REC | MS_PRIVATE)
  mount(directory, directory, MS_BIND)
  chdir(directory)
  syscall('pivot_root', [cString('.'), cString('.')], directory)
  syscall('umount2', [cString('.'), MNT_DETACH], 'the old root')
  chdir('/')
  limit(RLIMIT_FSIZE, maxFileSize)
  limit(RLIMIT_CORE, 0)
  syscall('prctl', [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0])
  syscall('prctl', [PR_SET_DUMPABLE, 0, 0, 0, 0])
  keepCapabilities()
}

function mount(source: string, target: string, flags: number): void {
  syscall('mount', [cString(source), cString(target), 0, flags, 0], target)
}

function limit(resource: number, value: number): void {
  const bytes = new BigUint64Array([BigInt(value), BigInt(value)])
  const result = trySyscall('prlimit64', [0, resource, new Uint8Array(bytes.buffer), 0])
  if (result < 0) throw new SyscallError('prlimit64', -result)
}

/** capset(2), version 3: two words each of effective, permitted and inheritable. */
function keepCapabilities(): void {
  const mask = KEPT_CAPABILITIES.reduce((sum, capability) => sum + 2 ** capability, 0)
  const header = new Uint8Array(new Uint32Array([0x20080522, 0]).buffer)
  const data = new Uint8Array(new Uint32Array([mask, mask, 0, 0, 0, 0]).buffer)
  syscall('capset', [header, data])
}
