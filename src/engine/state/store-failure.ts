import { errnoOf, TscrunError } from '../../model/errors.ts'

const KNOWN: Readonly<Record<string, readonly ['PERMISSION_DENIED' | 'NO_SPACE' | 'STORE', string]>> = {
  EACCES: ['PERMISSION_DENIED', 'run it as root'],
  EPERM: ['PERMISSION_DENIED', 'run it as root'],
  ENOSPC: ['NO_SPACE', 'free some space, or choose another --root'],
  EDQUOT: ['NO_SPACE', 'the quota is used up: free some space, or choose another --root'],
  EROFS: ['STORE', 'choose a --root on a writable filesystem'],
  EEXIST: ['STORE', 'something that is no directory is in the way: choose another --root'],
  ENOTDIR: ['STORE', 'something that is no directory is in the way: choose another --root'],
}

/** The sentence for what the store's filesystem refuses; `where` names the place, the error's own path if not given. */
export function storeFailure(error: unknown, where?: string, subject = where): unknown {
  const errno = errnoOf(error)
  if (error instanceof TscrunError || !(error instanceof Error) || errno === undefined) return error
  const known = Object.hasOwn(KNOWN, errno) ? KNOWN[errno] : undefined
  const path = subject ?? ('path' in error ? String(error.path) : undefined)
  if (known === undefined || path === undefined) return error
  const [code, hint] = known
  return new TscrunError(code, `write to the store ${where ?? path}: ${errno}`, {
    errno,
    subject: path,
    hint,
    cause: error,
  })
}
