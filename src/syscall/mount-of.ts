import { AT_FDCWD, cString, syscall } from './call.ts'

const STATX_MNT_ID = 0x1000
const STATX_BYTES = 256

/** Where a path lies: the device (`8:1`), and the mount's id in /proc/self/mountinfo, which Linux tells since 5.8. */
export function mountOf(path: string): { readonly device: string; readonly id: bigint | undefined } {
  const found = Buffer.alloc(STATX_BYTES)
  syscall('statx', [AT_FDCWD, cString(path), 0, STATX_MNT_ID, found], path)
  // struct statx of linux/stat.h: stx_mask, stx_dev_major, stx_dev_minor, stx_mnt_id.
  const view = new DataView(found.buffer, found.byteOffset, found.length)
  const told = (view.getUint32(0, true) & STATX_MNT_ID) !== 0
  return {
    device: `${view.getUint32(0x88, true)}:${view.getUint32(0x8c, true)}`,
    id: told ? view.getBigUint64(0x90, true) : undefined,
  }
}
