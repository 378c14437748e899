import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'

/** An attribute an image may carry. Those of overlayfs, of security modules and other `trusted.` ones are the host's. */
export function isHarmless(name: string): boolean {
  if (name.length > 255 || name.includes('\0')) return false
  if (name.startsWith('user.')) return !name.startsWith('user.overlay.')
  return name === 'system.posix_acl_access' || name === 'system.posix_acl_default'
}

/** The kernel takes no more than this of one attribute, nor of a list of names (XATTR_SIZE_MAX, XATTR_LIST_MAX). */
const MAX_BYTES = 64 << 10

/** Gives an open file the attributes of another that images may carry, capabilities among them. Throws SyscallError. */
export function copyXattrs(source: number, destination: number): void {
  for (const name of xattrNames(source)) {
    if (name !== 'security.capability' && !isHarmless(name)) continue
    const value = Buffer.allocUnsafe(MAX_BYTES)
    const size = syscall('fgetxattr', [source, cString(name), value, value.length], name)
    syscall('fsetxattr', [destination, cString(name), value, size, 0], name)
  }
}

function xattrNames(fd: number): readonly string[] {
  const size = trySyscall('flistxattr', [fd, 0, 0])
  if (size === 0 || errnoName(-size) === 'EOPNOTSUPP') return []
  if (size < 0) throw new SyscallError('flistxattr', -size)
  const names = Buffer.alloc(size)
  const got = syscall('flistxattr', [fd, names, size])
  return names.toString('latin1', 0, got).split('\0').slice(0, -1)
}
