import { statfsSync } from 'node:fs'
import { TscrunError, errnoOf } from '../../model/errors.ts'
import { SyscallError } from '../../syscall/errno.ts'
import { show } from './names.ts'

/** What the extractor was at: writing a layer, or copying a stack of them into one tree. */
export type Work = 'unpack layer' | 'copy layers'

/** What an archive can make a call answer, by names, links and sizes no honest one has. */
const HOSTILE: ReadonlySet<string> = new Set([
  'ENAMETOOLONG',
  'ELOOP',
  'ENOTDIR',
  'EISDIR',
  'EINVAL',
  'ERANGE',
  'E2BIG',
  'EFBIG',
  'EMLINK',
  'EPERM',
  'ENOENT',
  'EEXIST',
  'ENOTEMPTY',
])

const NO_SPACE_HINTS: Readonly<Record<Work, string>> = {
  'unpack layer': 'make room, or move the store with --root',
  'copy layers':
    'this filesystem needs room for them twice: make room, or move the store to ext4, xfs or btrfs by --root',
}

/** The sentence for what the kernel refused while files were written. */
export function extractorError(work: Work, error: unknown): TscrunError {
  if (error instanceof TscrunError) return error
  const errno = errnoOf(error)
  const text = textOf(error)
  const details = errno === undefined ? {} : { errno }
  if (error instanceof SyscallError && isTooLong(error)) {
    return new TscrunError('STORE', `${work}: ${text}: the filesystem of the store cannot hold so long an attribute`, {
      ...details,
      hint: 'xfs and btrfs can: move the store with --root',
    })
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new TscrunError('NO_SPACE', `${work}: ${errno}`, { ...details, hint: NO_SPACE_HINTS[work] })
  }
  if (error instanceof SyscallError && cannotHold(error)) {
    return new TscrunError('STORE', `${work}: ${text}: the filesystem of the store cannot hold it`, {
      ...details,
      hint: 'put the store on ext4, xfs or btrfs by --root; inside a container, on a volume',
    })
  }
  if (errno !== undefined && HOSTILE.has(errno)) return new TscrunError('INVALID_IMAGE', `${work}: ${text}`, details)
  return new TscrunError('STORE', `${work}: ${text}`, details)
}

/** `mkdir "a/b": ENOENT`, also where Node has its own sentence for it. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { syscall, path, code } = error as { syscall?: unknown; path?: unknown; code?: unknown }
  const isNodes = typeof syscall === 'string' && (typeof path === 'string' || Buffer.isBuffer(path))
  return isNodes ? `${syscall} ${show(Buffer.from(path))}: ${String(code)}` : (error.message.split('\n', 1)[0] ?? '')
}

/** ext4 says that it has no room where an attribute is longer than a block. */
function isTooLong({ syscall, code }: SyscallError): boolean {
  if (!syscall.endsWith('setxattr') || code !== 'ENOSPC') return false
  const { bavail, bsize } = statfsSync('.')
  return bavail * bsize > 1 << 20
}

/** Device nodes and file capabilities: some filesystems take neither. */
function cannotHold({ syscall, code }: SyscallError): boolean {
  return (
    (syscall === 'mknodat' && (code === 'EPERM' || code === 'ENXIO')) ||
    (syscall.endsWith('setxattr') && code === 'EOPNOTSUPP')
  )
}
