import { OPS, type Step } from '../model/step.ts'
import { describeMessage } from '../network/netlink/describe.ts'
import { describeSocketAddress } from '../network/socket-address.ts'
import { nameNumber } from './flags.ts'

/** The kernel call behind an op, where its name differs. */
const CALLS: Partial<Record<Step['op'], string>> = {
  open: 'openat2',
  mkdir: 'mkdirat',
  mknod: 'mknodat',
  symlink: 'symlinkat',
  chown: 'fchownat',
  write_file: 'write',
  write_file_or: 'write',
  write_proc: 'write',
  create_file: 'write',
  open_proc: 'openat',
  target: 'openat2',
  pipe: 'pipe2',
  rmdir: 'unlinkat',
  fsconfig_fd: 'fsconfig',
  fsopen_pid: 'fsopen',
  mask_path: 'move_mount',
  readonly_path: 'move_mount',
  open_pty: 'ioctl',
  clone: 'clone3',
  clone_beside: 'clone3',
  loopback_up: 'ioctl SIOCSIFFLAGS',
  set_ids: 'setresuid',
  dup: 'dup2',
  controlling_tty: 'ioctl TIOCSCTTY',
  close_fds: 'close_range',
  reaper: 'fork',
  exec: 'execve',
  bounding: 'prctl PR_CAPBSET_DROP',
  ambient: 'prctl PR_CAP_AMBIENT',
  new_keyring: 'keyctl',
  sysctl: 'write',
  rlimit: 'setrlimit',
  raise_limit: 'prlimit',
  device_filter: 'bpf',
  device_program: 'bpf',
  write_fd: 'write',
  device: 'mknodat',
  copy_up: 'openat',
  copy_mode: 'fchmod',
  write_pid: 'write',
  umount: 'umount2',
  detach_mount: 'umount2',
  move_root: 'chroot',
  chroot: 'chroot',
  id_view: 'clone',
  window_size: 'ioctl TIOCSWINSZ',
  open_netlink: 'socket',
  move_link: 'rtnetlink',
  netlink: 'rtnetlink',
  listen_port: 'bind',
  forward: 'fork',
  forward_end: 'kill',
  plugin: 'execve',
  keep_result: 'write',
  find_result: 'openat',
  names: 'connect',
  names_end: 'close',
  open_self: 'openat',
  run_hook: 'execve',
  scheduler: 'sched_setattr',
  io_priority: 'ioprio_set',
  memory_policy: 'set_mempolicy',
  cpu_affinity: 'sched_setaffinity',
  seccomp_notify: 'seccomp',
  cgroup_remove: 'rmdir',
  notify: 'sendmsg',
  wait: 'recvmsg',
  send_fd: 'sendmsg',
  recv_fd: 'recvmsg',
  find_program: 'execve',
  open_pidfd: 'pidfd_open',
  meet_caller: 'recv',
  hold: 'recvmsg',
  take: 'recvmsg',
  gate: 'accept4',
  join: 'setns',
  set_home: 'open',
  open_container: 'pidfd_open',
  send_fd_to: 'sendmsg',
}

/** `mkdirat`: what the man pages call it. */
export function callOf(step: Step): string {
  return CALLS[step.op] ?? step.op
}

/** A zero that says something. */
const TOLD_ZEROS = new Set(['uid', 'gid', 'onto', 'soft', 'hard', 'command', 'effective', 'keep'])

/** A step on one line: op, arguments by name, tolerated errnos with the reason. */
export function describeStep(step: Step): string {
  const values = step as unknown as Readonly<Record<string, unknown>>
  const words: string[] = [step.op]
  for (const [field, kind] of Object.entries(OPS[step.op].fields)) {
    const value = values[field]
    if (kind === 'u' && (value === 0 || value === 0n) && !TOLD_ZEROS.has(field)) continue
    if (value === '' || value === 'none' || (step.op === 'netlink' && field.endsWith('At'))) continue
    words.push(`${field}=${describeValue(step.op, field, value)}`)
  }
  if (step.tolerate !== undefined) words.push(`# ${step.tolerate.join(', ')} is fine: ${step.because ?? ''}`)
  return words.join(' ')
}

function describeValue(op: string, field: string, value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint') return nameNumber(op, field, value)
  if (value instanceof Uint8Array) return describeBytes(op, value)
  if (Array.isArray(value)) return `[${value.map((item) => quote(String(item))).join(' ')}]`
  const text = String(value)
  return text.startsWith('fd:') || text === 'cwd' ? text : quote(text)
}

function describeBytes(op: string, bytes: Uint8Array): string {
  if (op === 'netlink') return `(${describeMessage(bytes)})`
  return op === 'listen_port' ? describeSocketAddress(bytes) : `<${bytes.length} bytes>`
}

function quote(text: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(text) ? text : JSON.stringify(text)
}
