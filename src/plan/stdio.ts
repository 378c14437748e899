import type { LaunchSpec } from '../model/launch.ts'
import { AT, O, OPEN_TREE_CLONE } from '../model/linux.ts'
import { TARGET, type FdSlot, type Pump, type Step } from '../model/step.ts'

/** What each side does for the standard streams, in the order of the recipe. */
export interface StdioSteps {
  /** Slots filled by the caller's descriptors. */
  readonly inherited: readonly FdSlot[]
  /** Stage, before the clone. */
  readonly make: readonly Step[]
  /** Stage, after the clone: the container's ends must not stay open here, or their end is never seen. */
  readonly release: readonly Step[]
  /** Child, once /dev is in place. */
  readonly open: readonly Step[]
  /** Stage, when the child has opened them. */
  readonly receive: readonly Step[]
  /** Child, at the end: onto 0, 1 and 2. */
  readonly place: readonly Step[]
  readonly pumps: readonly Pump[]
}

export interface StdioOwner {
  /** Host ids of the container's user, who must be able to reopen /dev/stdout. */
  readonly hostUid: number
  readonly hostGid: number
  /** The same, as the container sees them. */
  readonly uid: number
}

const STREAMS = ['fd:stdin', 'fd:stdout', 'fd:stderr'] as const

export function stdioSteps(
  spec: Pick<LaunchSpec, 'stdio' | 'init'>,
  owner: StdioOwner,
  { devpts: devptsSlot, covers = 'fd:dev' }: { readonly devpts?: FdSlot; readonly covers?: FdSlot },
): StdioSteps {
  const place = STREAMS.map((fd, onto): Step => ({ op: 'dup', fd, onto }))
  switch (spec.stdio.kind) {
    case 'terminal':
      return sized(terminal(spec.stdio.interactive, owner, devptsSlot, spec.init), spec.stdio)
    case 'logged':
      return logged(spec.stdio, owner, { devpts: devptsSlot, covers }, spec.init)
    case 'console':
      return consoleSocket(sized(terminal(false, owner, devptsSlot, spec.init), spec.stdio))
    case 'inherited': {
      const { give, keep = false } = spec.stdio
      return {
        inherited: STREAMS,
        make: STREAMS.filter((_, index) => give[index] === true).map((fd) => ({
          ...chown(fd, owner),
          tolerate: ['EPERM', 'EROFS', 'EINVAL'],
          because: 'its filesystem cannot; the stream itself works',
        })),
        release: keep ? [] : STREAMS.map((fd): Step => ({ op: 'close', fd })),
        open: [],
        receive: [],
        place,
        pumps: [],
      }
    }
    case 'copied':
      return { ...copied(spec.stdio.interactive, owner, covers), receive: [], place }
    case 'direct': {
      const inherited = spec.stdio.interactive ? [...STREAMS] : STREAMS.slice(1)
      return {
        inherited,
        make: inherited.map((fd) => chown(fd, owner)),
        release: inherited.map((fd): Step => ({ op: 'close', fd })),
        open: spec.stdio.interactive ? [] : [nullInput(covers)],
        receive: [],
        place,
        pumps: [],
      }
    }
    default:
      return spec.stdio satisfies never
  }
}

function copied(interactive: boolean, owner: StdioOwner, covers: FdSlot): Omit<StdioSteps, 'receive' | 'place'> {
  const make: Step[] = [
    { op: 'pipe', read: 'fd:from-stdout', write: 'fd:stdout' },
    { op: 'pipe', read: 'fd:from-stderr', write: 'fd:stderr' },
    chown('fd:stdout', owner),
    chown('fd:stderr', owner),
  ]
  const release: Step[] = [
    { op: 'close', fd: 'fd:stdout' },
    { op: 'close', fd: 'fd:stderr' },
  ]
  const pumps: Pump[] = [
    { from: 'fd:from-stdout', to: 'fd:out', kind: 'output' },
    { from: 'fd:from-stderr', to: 'fd:err', kind: 'error' },
  ]
  if (interactive) {
    make.push({ op: 'pipe', read: 'fd:stdin', write: 'fd:to-stdin' }, chown('fd:stdin', owner))
    release.push({ op: 'close', fd: 'fd:stdin' })
    pumps.push({ from: 'fd:in', to: 'fd:to-stdin', kind: 'stdin' })
  }
  const open = interactive ? [] : [nullInput(covers)]
  return { inherited: ['fd:in', 'fd:out', 'fd:err'], make, release, open, pumps }
}

/** A terminal of the container's own /dev/pts, found by these steps: its slave for the command, its master for us. */
export function ptySteps(
  { find, devpts }: { readonly find: readonly Step[]; readonly devpts: FdSlot },
  { interactive, init }: { readonly interactive: boolean; readonly init: boolean },
  owner: Pick<StdioOwner, 'uid'>,
): StdioSteps {
  const pumps: Pump[] = [{ from: 'fd:master', to: 'fd:out', kind: 'output' }]
  if (interactive) pumps.unshift({ from: 'fd:in', to: 'fd:master', kind: 'terminal-in' })
  const place: Step[] = [0, 1, 2].map((onto) => ({ op: 'dup', fd: 'fd:slave', onto }))
  // With a reaper the command is in a session of its own, which takes the terminal after the fork.
  if (!init) place.push(takeTerminal())
  return {
    inherited: ['fd:in', 'fd:out', 'fd:err'],
    make: [],
    release: [],
    open: [
      ...find,
      { op: 'open_pty', master: 'fd:master', slave: 'fd:slave', devpts },
      {
        op: 'chown',
        dir: 'fd:slave',
        path: '',
        uid: owner.uid,
        gid: 5,
        tolerate: ['EINVAL'],
        because: 'group tty (5) is outside the range',
      },
      { op: 'send_fd', fd: 'fd:master' },
      { op: 'close', fd: 'fd:master' },
    ],
    receive: [{ op: 'recv_fd', fd: 'fd:master' }],
    place,
    pumps,
  }
}

/** The same, and as /dev/console. */
function terminal(interactive: boolean, owner: StdioOwner, devpts: FdSlot | undefined, init: boolean): StdioSteps {
  const found = devpts === undefined ? ownDevpts() : { find: [], devpts }
  const steps = ptySteps(found, { interactive, init }, owner)
  const console: Step[] = [
    { op: 'open_tree', fd: 'fd:console', dir: 'fd:slave', path: '', flags: OPEN_TREE_CLONE | AT.EMPTY_PATH },
    {
      op: 'target',
      fd: 'fd:console-target',
      root: 'fd:dev',
      path: 'console',
      kind: TARGET.plainFile,
      mode: 0o600,
      like: 'none',
      about: 'prepare /dev/console',
      hint: 'a link has this name in the root filesystem',
    },
    { op: 'move_mount', mount: 'fd:console', dir: 'fd:console-target', path: '', about: 'place /dev/console' },
  ]
  // Before the master goes: nobody may use the terminal as long as it is not whole.
  const at = steps.open.findIndex((step) => step.op === 'send_fd')
  return { ...steps, open: [...steps.open.slice(0, at), ...console, ...steps.open.slice(at)] }
}

/** As for the caller in the foreground, without the caller: the monitor has the log, and serves those who attach. */
function logged(
  { terminal: tty, interactive }: { readonly terminal: boolean; readonly interactive: boolean },
  owner: StdioOwner,
  { devpts, covers }: { readonly devpts: FdSlot | undefined; readonly covers: FdSlot },
  init: boolean,
): StdioSteps {
  const place = STREAMS.map((fd, onto): Step => ({ op: 'dup', fd, onto }))
  const steps = tty
    ? terminal(interactive, owner, devpts, init)
    : { ...copied(interactive, owner, covers), receive: [], place }
  const pumps = steps.pumps.map((pump): Pump => {
    return pump.kind === 'output' || pump.kind === 'error' ? { ...pump, to: 'none' } : { ...pump, from: 'none' }
  })
  return { ...steps, inherited: [], pumps }
}

/** A devpts that is not a mount of the list but comes with a bind of /dev. */
function ownDevpts(): { find: Step[]; devpts: FdSlot } {
  const flags = O.PATH | O.DIRECTORY | O.NOFOLLOW
  const about = 'find /dev/pts of the container'
  const hint = 'a terminal needs a devpts mount in the container'
  const devpts: FdSlot = 'fd:devpts'
  return {
    find: [{ op: 'open', fd: devpts, dir: 'fd:dev', path: 'pts', flags, mode: 0, resolve: 0, about, hint }],
    devpts,
  }
}

/** process.consoleSize: what the terminal says before anybody sets it. */
function sized(
  steps: StdioSteps,
  { rows, columns }: { readonly rows?: number; readonly columns?: number },
): StdioSteps {
  if (rows === undefined || columns === undefined) return steps
  const at = steps.open.findIndex((step) => step.op === 'open_pty') + 1
  const size: Step = { op: 'window_size', fd: 'fd:master', rows, columns }
  return { ...steps, open: [...steps.open.slice(0, at), size, ...steps.open.slice(at)] }
}

/** As a terminal of ours, but whoever listens on the socket copies (runc's docs/terminals.md). */
export function consoleSocket(steps: StdioSteps): StdioSteps {
  const hint = 'does its owner still listen?'
  return {
    ...steps,
    inherited: ['fd:console-socket'],
    receive: [
      ...steps.receive,
      { op: 'send_fd_to', socket: 'fd:console-socket', fd: 'fd:master', text: '/dev/pts/ptmx', hint },
      { op: 'close', fd: 'fd:master' },
    ],
    pumps: [],
  }
}

/** The terminal becomes the controlling one of the session (tty_ioctl(4), TIOCSCTTY). */
export function takeTerminal(): Step {
  return { op: 'controlling_tty', fd: 'fd:slave' }
}

/** Pipes and files of the caller belong to root on the host: the container's user could not reopen /dev/stdout. */
function chown(fd: FdSlot, owner: StdioOwner): Step & { op: 'chown' } {
  return { op: 'chown', dir: fd, path: '', uid: owner.hostUid, gid: owner.hostGid }
}

function nullInput(dir: FdSlot): Step {
  return { op: 'open', fd: 'fd:stdin', dir, path: 'null', flags: O.RDONLY | O.NOFOLLOW, mode: 0, resolve: 0 }
}
