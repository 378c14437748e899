/**
 * Every error a user can reach. A code is never renamed; docs/errors.md lists each with its remedy.
 * The value is the exit code of the command line (125 tscrun itself, 126 cannot invoke, 127 not found).
 */
export const ERROR_EXIT_CODES = {
  USAGE: 125,
  UNSUPPORTED_PLATFORM: 125,
  PERMISSION_DENIED: 125,
  HOST_UNSUPPORTED: 125,
  KERNEL_REFUSED: 125,
  NAME_IN_USE: 125,
  NO_SUCH_CONTAINER: 125,
  NO_SUCH_FILE: 125,
  CONTAINER_STATE: 125,
  NO_SUCH_IMAGE: 125,
  IMAGE_IN_USE: 125,
  NO_SUCH_VOLUME: 125,
  VOLUME_IN_USE: 125,
  INVALID_REFERENCE: 125,
  INVALID_IMAGE: 125,
  WRONG_PLATFORM: 125,
  DIGEST_MISMATCH: 125,
  LIMIT_EXCEEDED: 125,
  REGISTRY: 125,
  REGISTRY_AUTH: 125,
  REGISTRY_BLOCKED: 125,
  REGISTRY_RATE_LIMIT: 125,
  NETWORK: 125,
  NO_SUCH_NETWORK: 125,
  NETWORK_IN_USE: 125,
  ADDRESS_IN_USE: 125,
  STORE: 125,
  NO_SPACE: 125,
  INVALID_CONFIG: 125,
  CONTROLLER_UNAVAILABLE: 125,
  SYSTEMD: 125,
  USERNS_UNAVAILABLE: 125,
  USER_NOT_FOUND: 125,
  MONITOR_DIED: 125,
  OUTPUT_LIMIT: 125,
  ABORTED: 125,
  COMMAND_NOT_EXECUTABLE: 126,
  COMMAND_NOT_FOUND: 127,
} as const

export type ErrorCode = keyof typeof ERROR_EXIT_CODES

export interface ErrorDetails {
  /** What to do about it: one clause, no full stop. */
  readonly hint?: string
  /** Name of the kernel call that failed, e.g. `mount`. */
  readonly syscall?: string
  /** Symbolic errno, e.g. `EPERM`. */
  readonly errno?: string
  /** What the call was about: a path, an image, a flag. */
  readonly subject?: string
  readonly cause?: unknown
}

/**
 * An error a user can cause and mend. `message` is one line: call, subject, reason.
 * Anything else that is thrown is a bug of tscrun and stays a plain `Error`.
 */
export class TscrunError extends Error {
  override readonly name = 'TscrunError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly syscall: string | undefined
  readonly errno: string | undefined
  readonly subject: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.hint = details.hint
    this.syscall = details.syscall
    this.errno = details.errno
    this.subject = details.subject
  }

  /** Exit code a command line ends with for this error. */
  get exitCode(): number {
    return ERROR_EXIT_CODES[this.code]
  }
}

/** The errno name (`ENOENT`) of an error thrown by Node or by the syscall layer, if it carries one. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof TscrunError) return error.errno
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return undefined
}
