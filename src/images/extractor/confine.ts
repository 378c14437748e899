import { closeSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { chdir, exit, getuid } from 'node:process'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from '../../syscall/call.ts'
import { SyscallError } from '../../syscall/errno.ts'
import type { UnpackLimits } from '../budget.ts'
import type { Work } from './errors.ts'
import { applyFilter } from './filter.ts'

const CLONE_NEWNS = 0x00020000
const CLONE_NEWIPC = 0x08000000
const CLONE_NEWUTS = 0x04000000
const CLONE_NEWNET = 0x40000000
const MS_NOSUID = 2
const MS_NODEV = 4
const MS_NOEXEC = 8
const MS_REMOUNT = 0x20
const MS_BIND = 0x1000
const MS_REC = 0x4000
const MS_PRIVATE = 0x40000
const MNT_DETACH = 2
const PR_SET_PDEATHSIG = 1
const PR_SET_NO_NEW_PRIVS = 38
const PR_SET_DUMPABLE = 4
const SIGKILL = 9
const RLIMIT_CPU = 0
const RLIMIT_FSIZE = 1
const RLIMIT_CORE = 4
const RLIMIT_NOFILE = 7
const RLIMIT_AS = 9
const O_CLOEXEC = 0o2000000
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const MOUNT_ATTR_RDONLY = 1n
const MOVE_MOUNT_F_EMPTY_PATH = 4
const AT_EMPTY_PATH = 0x1000

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN (for trusted.overlay attributes), MKNOD, SETFCAP. */
const KEPT_CAPABILITIES = [0, 1, 3, 4, 21, 27, 31]

/** Node's own descriptors are about 20; one file is open at a time. */
const MAX_FDS = 64
/** What may be mapped beyond what is at the start: names, tables, the stacks of threads. */
const MAX_MEMORY = 3 * 2 ** 30

/** This process ends when the one that started it does. */
export function dieWithParent(parent: number): void {
  syscall('prctl', [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0])
  // It may have ended before the kernel was told.
  if (process.ppid !== parent) exit(1)
}

/** Node opens its own descriptors close-on-exec: one above `last` that is not was left by whoever started the parent. */
export function closeInherited(last: number): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name)
    if (fd > last && !isCloseOnExec(fd)) closeSync(fd)
  }
}

/** True also for the descriptor of the listing itself, which is gone by now. */
function isCloseOnExec(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    return (Number.parseInt(flags ?? '0', 8) & O_CLOEXEC) !== 0
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true
    throw error
  }
}

/**
 * Makes `directory` all this process can see: own mount and network namespaces, its root the directory, the host's
 * tree detached, only the capabilities that writing files needs. Must run before anything uses libuv's
 * thread pool: threads made before would still see the host (unshare(2) is per thread, later threads inherit).
 */
export function confineTo(directory: string, limits: UnpackLimits): void {
  requireRoot('unpack layer')
  const rights = prepareRights(limits)
  leaveHost()
  mount(directory, directory, MS_BIND)
  // It makes device nodes and programs; it must not be able to use one.
  mount('none', directory, MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOSUID | MS_NOEXEC)
  becomeRoot(directory)
  giveUpRights(rights)
}

/** Where `confineToCopying` shows its directories. */
export interface CopyingView {
  readonly target: string
  /** Read-only; in the order they were given in. */
  readonly sources: readonly string[]
}

/** As `confineTo`, with further directories that can be read only. */
export function confineToCopying(directory: string, sources: readonly string[], limits: UnpackLimits): CopyingView {
  requireRoot('copy layers')
  const rights = prepareRights(limits)
  leaveHost()
  // Taken before the place they lie in is covered by the new root.
  const target = cloneMount(directory)
  const clones = sources.map((source) => readOnly(cloneMount(source), source))
  mount('tmpfs', directory, 0, 'tmpfs')
  const view = { target: '/to', sources: clones.map((_, index) => `/from/${index}`) }
  mkdirSync(`${directory}/from`)
  for (const [index, clone] of [target, ...clones].entries()) {
    const place = `${directory}${index === 0 ? view.target : `/from/${index - 1}`}`
    mkdirSync(place)
    syscall('move_mount', [clone, cString(''), AT_FDCWD, cString(place), MOVE_MOUNT_F_EMPTY_PATH], place)
    syscall('close', [clone])
  }
  becomeRoot(directory)
  giveUpRights(rights)
  return view
}

function requireRoot(work: Work): void {
  if (getuid?.() === 0) return
  throw new TscrunError('PERMISSION_DENIED', `${work}: only root can write the files of other owners`, {
    hint: 'run it with sudo',
  })
}

function leaveHost(): void {
  syscall('unshare', [CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS])
  mount('none', '/', MS_REC | MS_PRIVATE)
}

function becomeRoot(directory: string): void {
  chdir(directory)
  syscall('pivot_root', [cString('.'), cString('.')], directory)
  syscall('umount2', [cString('.'), MNT_DETACH], 'the old root')
  chdir('/')
}

/** What is made while the host's files can still be read. */
interface Rights {
  readonly limits: UnpackLimits
  readonly memory: number
}

function prepareRights(limits: UnpackLimits): Rights {
  // V8 has reserved its share by now.
  const mapped = Number(/^VmSize:\s*([0-9]+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
  return { limits, memory: mapped * 1024 + MAX_MEMORY }
}

/** RLIMIT_NPROC would say nothing: the kernel does not count for root. The filter knows no new process at all. */
function giveUpRights({ limits, memory }: Rights): void {
  // At the hard one it would be SIGKILL, which says nothing.
  limit(RLIMIT_CPU, limits.cpuSeconds, limits.cpuSeconds + 5)
  limit(RLIMIT_FSIZE, limits.sizes)
  limit(RLIMIT_CORE, 0)
  limit(RLIMIT_NOFILE, MAX_FDS)
  limit(RLIMIT_AS, memory)
  syscall('prctl', [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0])
  syscall('prctl', [PR_SET_DUMPABLE, 0, 0, 0, 0])
  keepCapabilities()
  applyFilter()
}

/** A mount without a place, of this directory and none of the mounts below it (open_tree(2)). */
function cloneMount(directory: string): number {
  return syscall('open_tree', [AT_FDCWD, cString(directory), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], directory)
}

function readOnly(clone: number, subject: string): number {
  // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
  const attributes = new Uint8Array(new BigUint64Array([MOUNT_ATTR_RDONLY, 0n, 0n, 0n]).buffer)
  syscall('mount_setattr', [clone, cString(''), AT_EMPTY_PATH, attributes, attributes.length], subject)
  return clone
}

function mount(source: string, target: string, flags: number, type?: string): void {
  syscall('mount', [cString(source), cString(target), type === undefined ? 0 : cString(type), flags, 0], target)
}

function limit(resource: number, soft: number, hard = soft): void {
  const bytes = new BigUint64Array([BigInt(soft), BigInt(hard)])
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
