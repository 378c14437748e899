/**
 * The vocabulary of a plan: one operation a kernel call, named in order of its arguments.
 * native/plan.h holds the same table; test/unit/plan-contract.test.ts reads both.
 *
 * A field's kind is a letter: u number, f slot that is read, o slot that is written, s text, b bytes, v list of texts.
 */
export const OPS = {
  open: { code: 1, fields: { fd: 'o', dir: 'f', path: 's', flags: 'u', mode: 'u', resolve: 'u' } },
  write_fd: { code: 6, fields: { fd: 'f', bytes: 'b' } },
  device: { code: 15, fields: { dir: 'f', path: 's', mode: 'u', device: 'u', uid: 'u', gid: 'u' } },
  copy_up: { code: 16, fields: { root: 'f', path: 's', into: 'f' } },
  copy_mode: { code: 17, fields: { root: 'f', path: 's', to: 'f' } },
  write_pid: { code: 18, fields: { dir: 'f', path: 's' } },
  mkdir: { code: 2, fields: { dir: 'f', path: 's', mode: 'u' } },
  mknod: { code: 3, fields: { dir: 'f', path: 's', mode: 'u', device: 'u' } },
  symlink: { code: 4, fields: { target: 's', dir: 'f', path: 's' } },
  chown: { code: 5, fields: { dir: 'f', path: 's', uid: 'u', gid: 'u' } },
  write_file: { code: 7, fields: { dir: 'f', path: 's', bytes: 'b' } },
  close: { code: 8, fields: { fd: 'f' } },
  fchdir: { code: 9, fields: { dir: 'f' } },
  target: { code: 10, fields: { fd: 'o', root: 'f', path: 's', kind: 'u', mode: 'u', like: 'f' } },
  pipe: { code: 11, fields: { read: 'o', write: 'o' } },
  rmdir: { code: 12, fields: { dir: 'f', path: 's' } },
  write_file_or: { code: 14, fields: { dir: 'f', path: 's', bytes: 'b', other: 's', otherBytes: 'b' } },
  create_file: { code: 13, fields: { dir: 'f', path: 's', mode: 'u', bytes: 'b' } },
  mount: { code: 20, fields: { source: 's', target: 's', type: 's', flags: 'u', data: 's' } },
  open_tree: { code: 22, fields: { fd: 'o', dir: 'f', path: 's', flags: 'u' } },
  mount_setattr: { code: 23, fields: { mount: 'f', at: 'u', set: 'u', clear: 'u', propagation: 'u', userns: 'f' } },
  move_mount: { code: 24, fields: { mount: 'f', dir: 'f', path: 's' } },
  fsopen: { code: 25, fields: { fs: 'o', type: 's' } },
  fsconfig: { code: 26, fields: { fs: 'f', command: 'u', key: 's', value: 's' } },
  fsconfig_fd: { code: 33, fields: { fs: 'f', key: 's', fd: 'f' } },
  fsopen_pid: { code: 34, fields: { fs: 'o', type: 's' } },
  fsmount: { code: 27, fields: { mount: 'o', fs: 'f', attributes: 'u' } },
  pivot_root: { code: 28, fields: { root: 'f', put: 's' } },
  mask_path: { code: 29, fields: { root: 'f', path: 's', null: 'f', empty: 'f' } },
  readonly_path: { code: 30, fields: { root: 'f', path: 's' } },
  open_pty: { code: 31, fields: { master: 'o', slave: 'o', devpts: 'f' } },
  detach_mount: { code: 78, fields: { mount: 'f' } },
  umount: { code: 21, fields: { target: 's' } },
  move_root: { code: 32, fields: { root: 'f' } },
  chroot: { code: 69, fields: { root: 'f' } },
  id_view: { code: 35, fields: { view: 'o', uids: 'b', gids: 'b' } },
  window_size: { code: 36, fields: { fd: 'f', rows: 'u', columns: 'u' } },
  open_netlink: { code: 37, fields: { fd: 'o' } },
  move_link: { code: 38, fields: { netlink: 'f', name: 's', rename: 's' } },
  open_self: { code: 39, fields: { fd: 'o', file: 's' } },
  unshare: { code: 40, fields: { flags: 'u' } },
  setns: { code: 41, fields: { namespace: 'f', type: 'u' } },
  clone: { code: 42, fields: { flags: 'u', cgroup: 'f' } },
  clone_beside: { code: 77, fields: { flags: 'u', cgroup: 'f', process: 'f' } },
  open_proc: { code: 43, fields: { fd: 'o', file: 's' } },
  write_proc: { code: 44, fields: { file: 's', bytes: 'b' } },
  setsid: { code: 45, fields: {} },
  sethostname: { code: 46, fields: { name: 's' } },
  setdomainname: { code: 47, fields: { name: 's' } },
  loopback_up: { code: 48, fields: {} },
  set_ids: { code: 49, fields: { uid: 'u', gid: 'u' } },
  setgroups: { code: 50, fields: { gids: 'b' } },
  prctl: { code: 51, fields: { option: 'u', arg2: 'u', arg3: 'u', arg4: 'u', arg5: 'u' } },
  rlimit: { code: 52, fields: { resource: 'u', soft: 'u', hard: 'u' } },
  umask: { code: 53, fields: { mask: 'u' } },
  chdir: { code: 54, fields: { path: 's' } },
  dup: { code: 55, fields: { fd: 'f', onto: 'u' } },
  controlling_tty: { code: 56, fields: { fd: 'f' } },
  close_fds: { code: 57, fields: { from: 'u' } },
  reaper: { code: 58, fields: {} },
  exec: { code: 59, fields: { command: 's', args: 'v', path: 's' } },
  netlink: {
    code: 97,
    fields: { socket: 'f', message: 'b', netns: 'f', netnsAt: 'u', link: 's', linkAt: 'u' },
  },
  listen_port: { code: 98, fields: { protocol: 'u', address: 'b', target: 'b' } },
  forward: { code: 99, fields: {} },
  forward_end: { code: 100, fields: {} },
  plugin: { code: 84, fields: { path: 's', args: 'v', env: 'v', config: 's', netns: 'f', timeoutMs: 'u' } },
  keep_result: { code: 85, fields: { dir: 'f', name: 's' } },
  find_result: { code: 86, fields: { dir: 'f', name: 's' } },
  names: { code: 101, fields: { dir: 'f', program: 'f', cgroup: 'f', bytes: 'b' } },
  names_end: { code: 102, fields: {} },
  set_env: { code: 60, fields: { env: 'v' } },
  find_program: { code: 61, fields: { command: 's', path: 's' } },
  open_pidfd: { code: 62, fields: { fd: 'o' } },
  run_hook: { code: 63, fields: { path: 's', args: 'v', env: 'v', input: 's', timeoutMs: 'u' } },
  scheduler: {
    code: 64,
    fields: { policy: 'u', flags: 'u', nice: 'u', priority: 'u', runtime: 'u', deadline: 'u', period: 'u' },
  },
  io_priority: { code: 65, fields: { value: 'u' } },
  personality: { code: 66, fields: { domain: 'u' } },
  memory_policy: { code: 67, fields: { mode: 'u', nodes: 'b' } },
  cpu_affinity: { code: 68, fields: { cpus: 'b' } },
  raise_limit: { code: 19, fields: { resource: 'u', hard: 'u' } },
  bounding: { code: 70, fields: { keep: 'u' } },
  capset: { code: 71, fields: { effective: 'u', permitted: 'u', inheritable: 'u' } },
  ambient: { code: 72, fields: { raise: 'u' } },
  seccomp: { code: 73, fields: { flags: 'u', program: 'b' } },
  new_keyring: { code: 74, fields: {} },
  sysctl: { code: 75, fields: { proc: 'f', path: 's', value: 'b' } },
  seccomp_notify: { code: 76, fields: { flags: 'u', program: 'b', socket: 'f', text: 's' } },
  device_filter: { code: 80, fields: { cgroup: 'f', program: 'b' } },
  device_program: { code: 82, fields: { cgroup: 'f', program: 'f' } },
  cgroup_remove: { code: 81, fields: { parent: 'f', name: 's' } },
  notify: { code: 90, fields: { point: 'u' } },
  wait: { code: 91, fields: { point: 'u' } },
  send_fd: { code: 92, fields: { fd: 'f' } },
  recv_fd: { code: 93, fields: { fd: 'o' } },
  meet_caller: { code: 94, fields: { point: 'u' } },
  hold: { code: 107, fields: { title: 's' } },
  take: { code: 108, fields: {} },
  gate: { code: 95, fields: { listener: 'f' } },
  join: { code: 104, fields: { process: 'f', flags: 'u' } },
  set_home: { code: 105, fields: { uid: 'u' } },
  open_container: { code: 106, fields: { fd: 'o', state: 's', file: 's' } },
  send_fd_to: { code: 96, fields: { socket: 'f', fd: 'f', text: 's' } },
  detach: { code: 110, fields: { cgroup: 'f' } },
  log: { code: 111, fields: { dir: 'f', name: 's', format: 'u', maxSize: 'u', maxFiles: 'u' } },
  listen: { code: 112, fields: { listener: 'f' } },
  status: { code: 113, fields: { runDir: 'f', dir: 'f' } },
  restart: { code: 114, fields: { policy: 'u', most: 'u' } },
  last: { code: 115, fields: {} },
  time_limit: { code: 124, fields: { ms: 'u' } },
  stop_by: { code: 125, fields: { signal: 'u', ms: 'u' } },
  health: {
    code: 126,
    fields: {
      dir: 'f',
      intervalMs: 'u',
      timeoutMs: 'u',
      retries: 'u',
      startPeriodMs: 'u',
      startIntervalMs: 'u',
      action: 'u',
      plan: 'b',
    },
  },
  unlink: { code: 116, fields: { dir: 'f', path: 's' } },
  remove_tree: { code: 117, fields: { dir: 'f', path: 's' } },
  remove_volume: { code: 118, fields: { dir: 'f', path: 's', user: 's' } },
  release_link: { code: 120, fields: { dir: 'f', path: 's', text: 's' } },
  events: { code: 121, fields: { path: 's', id: 's', name: 's', attributes: 'b', flags: 'u', volumes: 'b' } },
} as const satisfies Record<string, { code: number; fields: Readonly<Record<string, FieldKind>> }>

export type FieldKind = 'u' | 'f' | 'o' | 's' | 'b' | 'v'
export type OpName = keyof typeof OPS

/** A descriptor that exists only at run time, by name. */
export type FdSlot = `fd:${string}`

interface FieldTypes {
  readonly u: number | bigint
  /** `cwd` is AT_FDCWD, `none` no descriptor. */
  readonly f: FdSlot | 'cwd' | 'none'
  readonly o: FdSlot
  readonly s: string
  readonly b: string | Uint8Array
  readonly v: readonly string[]
}

type Arguments<Op extends OpName> = {
  readonly [Field in keyof (typeof OPS)[Op]['fields']]: (typeof OPS)[Op]['fields'][Field] extends infer Kind extends
    FieldKind
    ? FieldTypes[Kind]
    : never
}

/** What goes with every step. */
export interface StepNotes {
  /** Errnos that are no failure here; `because` must say why. */
  readonly tolerate?: readonly ErrnoName[]
  readonly because?: string
  /** Words for people: what this step is about, where its arguments do not say it (`mount proc on /proc`). */
  readonly about?: string
  /** What to do if it fails. */
  readonly hint?: string
}

/** Errnos a plan may tolerate, with their numbers (the same on x86-64 and aarch64). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EAFNOSUPPORT: 97,
  EBADF: 9,
  ENODEV: 19,
  EISDIR: 21,
  EINVAL: 22,
  EROFS: 30,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EOPNOTSUPP: 95,
} as const
export type ErrnoName = keyof typeof ERRNO

export type Step = { readonly [Op in OpName]: { readonly op: Op } & Arguments<Op> & StepNotes }[OpName]

/** The column's name says who runs it; see native/plan.h. */
export type ColumnName = 'parent' | 'child' | 'teardown'
export const COLUMN_NAMES = ['parent', 'child', 'teardown'] as const satisfies readonly ColumnName[]

/** Bytes the monitor copies while the container runs. */
export interface Pump {
  /** `none`: nobody of the caller's; those who attach later, and the log. */
  readonly from: FdSlot | 'none'
  readonly to: FdSlot | 'none'
  readonly kind: 'stdin' | 'output' | 'error' | 'terminal-in'
}

/** Everything the kernel will be asked to make a container, run it and clean up after it. */
export interface Plan {
  readonly parent: readonly Step[]
  readonly child: readonly Step[]
  readonly teardown: readonly Step[]
  readonly pumps: readonly Pump[]
  /** Descriptors handed over by the caller: they fill these slots in this order. */
  readonly inherited: readonly FdSlot[]
  /** The slot of the container's cgroup, for the kill and the OOM count. */
  readonly cgroup?: FdSlot
  /** The slot of the container's mount namespace, held until its exit has been told. */
  readonly mountNamespace?: FdSlot
  /**
   * The parent's column has a `hold`: what stands before it can be done before the caller has use for the container. The
   * inherited slots are filled later, by `hold` and `take`. The stage takes another plan afterwards.
   */
  readonly held?: boolean
  /** Of a held one: a slot that nobody else can see, closed when the container has been told to be gone. */
  readonly late?: FdSlot
}

/**
 * Meeting points of the two columns, and of the stage with its caller. The last four are an OCI runtime's: all mounts are
 * done but the root is not yet the root (hooks), the first process has come to its gate, it is written down where others
 * find it, it has been cloned but has no cgroup yet (systemd makes one).
 */
export const MEETING = { mapped: 1, ready: 2, mounted: 3, waiting: 4, recorded: 5, cloned: 6 } as const
/** Kinds of `target`; a plain one has no link on its way, `same` makes what `like` is, directory or file. */
export const TARGET = { directory: 0, file: 1, plainDirectory: 2, same: 3, plainFile: 4 } as const
