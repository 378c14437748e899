import { TscrunError } from '../../model/errors.ts'
import type { ContainerExit } from '../../runtime/launch.ts'

/** What the container wrote is lost: its own exit code would hide that. */
export function outputRefused({ stream, errno }: NonNullable<ContainerExit['refused']>): TscrunError {
  const full = errno === 'ENOSPC' || errno === 'EDQUOT'
  return new TscrunError(full ? 'NO_SPACE' : 'KERNEL_REFUSED', `write ${stream}: ${errno}`, {
    syscall: 'write',
    errno,
    subject: stream,
    hint: full ? 'free some space where it is written to' : 'what the container wrote is lost',
  })
}
