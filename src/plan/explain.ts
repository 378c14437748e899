import { TscrunError, type ErrorCode } from '../model/errors.ts'
import type { ColumnName, Plan, Step } from '../model/step.ts'
import { cniErrorWords } from '../network/cni/call.ts'
import { callOf } from './words.ts'

export interface StepFailure {
  readonly column: ColumnName
  readonly index: number
  /** Symbolic errno. */
  readonly errno: string
  /** wait(2)'s word about a program that failed. */
  readonly status?: number
  /** The end of what it wrote. */
  readonly output?: string
}

const REASONS: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  EACCES: 'permission denied',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EISDIR: 'it is a directory',
  EEXIST: 'it exists already',
  EINVAL: 'the kernel takes no such value',
  EBUSY: 'busy',
  ENOSPC: 'no space left',
  EDQUOT: 'the quota is used up',
  ENOMEM: 'out of memory',
  EAGAIN: 'a limit on processes is reached',
  ENOEXEC: 'not an executable format for this processor',
  ELOOP: 'a symbolic link where none may be',
  EXDEV: 'outside of the root filesystem',
  ENODEV: 'this kernel has no such filesystem',
  EROFS: 'read-only filesystem',
  EOVERFLOW: 'an id outside of the mapped range',
  ECONNRESET: 'the first process ended early',
  ECANCELED: 'the caller has gone',
  EPIPE: 'nobody listens on the socket',
  EADDRINUSE: 'it is in use',
  EADDRNOTAVAIL: 'this host has no such address',
}

/** Where the reason says more than the step knows. */
const HINTS: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: '`ip addr` shows the addresses of this host',
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  EADDRINUSE: 'ADDRESS_IN_USE',
}

/** Words a failed step for people: call, subject, reason, hint. */
export function explainFailure(plan: Plan, failure: StepFailure, workdir?: string): TscrunError {
  const step = plan[failure.column][failure.index]
  if (step === undefined)
    return new TscrunError('KERNEL_REFUSED', `start: ${failure.errno} before the first step`, { errno: failure.errno })
  if (step.op === 'run_hook' || step.op === 'plugin') return explainProgram(step, failure)
  if (step.op === 'exec' || step.op === 'find_program') return explainExec(step, failure.errno, workdir)
  if (step.op === 'open_container' && failure.errno === 'ESRCH') {
    return new TscrunError('CONTAINER_STATE', `${step.about ?? step.state}: it does not run`, {
      errno: failure.errno,
      subject: step.state,
      hint: 'start that container first',
    })
  }
  const reason = reasonOf(step, failure.errno)
  const subject = subjectOf(step)
  const code = CODES[failure.errno] ?? 'KERNEL_REFUSED'
  const hint =
    HINTS[failure.errno] ??
    readOnlyHint(step, failure.errno) ??
    stackHint(step, failure.errno) ??
    step.hint ??
    (code === 'NO_SPACE' ? noSpaceHint(step) : undefined)
  const what = step.about ?? subject
  const where = what === callOf(step) ? what : `${callOf(step)}: ${what}`
  return new TscrunError(code, `${where}: ${reason} (${failure.errno})`, {
    syscall: callOf(step),
    errno: failure.errno,
    subject,
    ...(hint === undefined ? {} : { hint }),
  })
}

function reasonOf(step: Step, errno: string): string {
  if ((step.op === 'move_link' || step.op === 'netlink') && errno === 'ENODEV') return 'no such interface'
  return REASONS[errno] ?? 'failed'
}

/** What is mounted needs a place, and there none can be made. */
function readOnlyHint({ op }: Step, errno: string): string | undefined {
  return op === 'target' && errno === 'EROFS'
    ? 'make it there beforehand; over a root directory --rootfs PATH:O puts a layer in which it can be made'
    : undefined
}

/** Of the root filesystem: FILESYSTEM_MAX_STACK_DEPTH; the kernel says it in its log alone. */
function stackHint(step: Step, errno: string): string | undefined {
  const isOverlay = step.op === 'fsconfig' ? step.fs === 'fd:overlay' : step.op === 'mount' && step.type === 'overlay'
  return isOverlay && errno === 'EINVAL'
    ? 'of overlays only two may lie one above the other: take a directory on a disk; else the log of the kernel (dmesg) says why'
    : undefined
}

/** The kernel says ENOSPC of a limit on namespaces too (clone(2), unshare(2)). */
function noSpaceHint(step: Step): string {
  if (step.op === 'clone' || step.op === 'clone_beside' || step.op === 'unshare')
    return 'too many namespaces: see /proc/sys/user'
  return 'free some space, or choose another --root'
}

const PLUGIN_HINT = 'the files of /etc/cni/net.d say what it is told; --network none starts the container without'

/** `hooks.createRuntime[0] /bin/x: exit status 1: what it said last`, and of a plugin what its error says. */
function explainProgram(
  step: Step & { op: 'run_hook' | 'plugin' },
  { errno, status, output = '' }: StepFailure,
): TscrunError {
  const signal = (status ?? 0) & 0x7f
  const ended = signal === 0 ? `exit status ${((status ?? 0) >> 8) & 0xff}` : `ended by signal ${signal}`
  const late = errno === 'ETIMEDOUT' ? `not done after ${Number(step.timeoutMs) / 1000} s, killed` : undefined
  const what = status === undefined ? (late ?? `${REASONS[errno] ?? 'cannot be run'} (${errno})`) : ended
  const last = step.op === 'plugin' ? cniErrorWords(output) : lastWords(output)
  return new TscrunError('KERNEL_REFUSED', `${step.about ?? step.path}: ${what}${last === '' ? '' : `: ${last}`}`, {
    subject: step.path,
    hint: step.hint ?? (step.op === 'plugin' ? PLUGIN_HINT : 'a hook that fails ends the start: config.json names it'),
  })
}

/** The last line; of nft(8), which shows the place behind it, what the error is. */
function lastWords(output: string): string {
  const lines = output.trimEnd().split('\n')
  const error = lines.find((line) => line.includes(': Error: '))
  return (error?.replace(/^.*: Error: /, '') ?? lines.at(-1) ?? '').trim()
}

/** 127 for what is not there, 126 for what cannot be run (docker-run(1), Exit Status). */
function explainExec(
  step: Step & { op: 'exec' | 'find_program' },
  errno: string,
  workdir: string | undefined,
): TscrunError {
  const details = { syscall: 'execve', errno, subject: step.command }
  const shown = JSON.stringify(step.command)
  if (step.command === '') {
    return new TscrunError('COMMAND_NOT_FOUND', `exec ${shown}: the command has no name`, {
      ...details,
      hint: "is the entrypoint of the image, or the caller's, an empty word?",
    })
  }
  if (errno === 'ENOENT' || errno === 'ENOTDIR') {
    if (!step.command.includes('/')) {
      return new TscrunError('COMMAND_NOT_FOUND', `exec ${shown}: executable file not found in $PATH (${step.path})`, {
        ...details,
        hint: 'is it in the image, and is the first word after the image the command?',
      })
    }
    const where = step.command.startsWith('/') || workdir === undefined ? '' : ` in ${workdir}`
    return new TscrunError('COMMAND_NOT_FOUND', `exec ${shown}: no such file or directory${where}`, {
      ...details,
      hint: 'the file, or the interpreter or loader that it names, is not in the image',
    })
  }
  const hint =
    errno === 'ENOEXEC'
      ? 'built for another processor, or a script without #! line'
      : errno === 'E2BIG'
        ? 'its words and the environment are longer than the kernel takes'
        : 'is it a file with the execute bit, on a mount without noexec?'
  return new TscrunError('COMMAND_NOT_EXECUTABLE', `exec ${shown}: ${REASONS[errno] ?? 'cannot be run'} (${errno})`, {
    ...details,
    hint,
  })
}

function subjectOf(step: Step): string {
  switch (step.op) {
    case 'mount':
      return `${step.type || 'a mount'} on ${step.target}`
    case 'write_proc':
      return `/proc/<first process>/${step.file}`
    case 'open':
    case 'mkdir':
    case 'mknod':
    case 'chown':
    case 'write_file':
    case 'open_tree':
    case 'mask_path':
    case 'readonly_path':
    case 'target':
      return step.path || step.op
    case 'fsconfig':
      return step.key === '' ? 'create the filesystem' : `${step.key}=${step.value}`
    default:
      return step.op.replaceAll('_', ' ')
  }
}
