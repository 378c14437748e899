/**
 * The kernel's names of its errors and signals, in the order of their numbers, which are the same on both processors
 * (asm-generic/errno-base.h, errno.h; signal(7)). node:os has them too, but takes 0.6 ms of a start to load.
 */
const ERRORS = (
  'EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST ' +
  'EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ' +
  'ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG ' +
  'EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ' +
  'ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ' +
  'ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE ' +
  'EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE ' +
  'EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ' +
  'ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL ' +
  'EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ' +
  'ENOTRECOVERABLE ERFKILL EHWPOISON'
).split(' ')

/** `EPERM` for 1; `errno 200` for a number without a name. */
export function errnoName(errno: number): string {
  const name = ERRORS[errno - 1]
  return name === undefined || name === '-' ? `errno ${errno}` : name
}

/** Signals 1 to 31 without `SIG`. */
export const SIGNALS: readonly string[] = (
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG ' +
  'XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ')

/** `SIGTERM` for 15; `SIG40` for one without a name. */
export function signalName(signal: number): string {
  return `SIG${SIGNALS[signal - 1] ?? signal}`
}

/** Those that libc leaves to programs (signal(7)). */
const [RTMIN, RTMAX] = [34, 64]

/** 15 for `SIGTERM`, 37 for `SIGRTMIN+3`; undefined for a name that is none. */
export function signalNumber(name: string): number | undefined {
  if (!name.startsWith('SIG')) return undefined
  const index = SIGNALS.indexOf(name.slice(3))
  if (index >= 0) return index + 1
  const [, end, offset = '0'] = /^SIGRTM(IN|AX)([+-][0-9]{1,2})?$/.exec(name) ?? []
  const number = (end === 'IN' ? RTMIN : RTMAX) + Number(offset)
  return end !== undefined && number >= RTMIN && number <= RTMAX ? number : undefined
}

/** `SIGTERM` for `term`, `TERM`, `SIGTERM` and `15`; `SIGRTMIN+3` for 37. Undefined for what is no signal. */
export function completeSignal(text: string): string | undefined {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`
  const number = /^[0-9]{1,2}$/.test(text) ? Number(text) : signalNumber(name)
  if (number === undefined || number < 1) return undefined
  if (number <= SIGNALS.length) return signalName(number)
  if (number < RTMIN || number > RTMAX) return undefined
  return number === RTMIN ? 'SIGRTMIN' : `SIGRTMIN+${number - RTMIN}`
}

export const SIGKILL = 9
