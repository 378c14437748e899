import * as fs from 'node:fs'
import { SyscallError } from '../../syscall/errno.ts'
import { makeNode, setXattr } from './kernel.ts'

/** `trusted.overlay.` for a mount by root, `user.overlay.` for one with `userxattr`. */
export type OverlayPrefix = 'trusted.overlay.' | 'user.overlay.'

/**
 * What a layer says of the layers below it: a *whiteout* hides one name, an *opaque* directory hides all that they have
 * in it. Overlayfs knows each by a mark of its own: a character device 0:0, an attribute of the directory (kernel:
 * Documentation/filesystems/overlayfs). Where the filesystem of the store takes one of these not, both are kept as
 * archives carry them, by name (image-spec layer.md): an empty file `.wh.NAME`, an empty file `.wh..wh..opq`. No file
 * of a layer can be called like that. Overlayfs does not understand such a tree; merge.ts does.
 */
export interface Marks {
  /** Whether the filesystem takes overlayfs' own; it is tried once, when the first is wanted. */
  ofOverlay(): boolean
  whiteout(path: Buffer): void
  opaque(path: Buffer): void
}

export const WHITEOUT = Buffer.from('.wh.')
export const OPAQUE = Buffer.from('.wh..wh..opq')
/** Book-keeping of aufs. */
export const AUFS = Buffer.from('.wh..wh.')

/** Marks in the current directory and below it. */
export function marksOf(prefix: OverlayPrefix): Marks {
  const here = Buffer.from('.')
  const whiteout = (path: Buffer): void => makeNode(path, 'char', 0, 0, 0)
  const opaque = (path: Buffer): void => {
    setXattr(path.length === 0 ? here : path, `${prefix}opaque`, Buffer.from('y'))
  }
  let taken: boolean | undefined
  return { whiteout, opaque, ofOverlay: () => (taken ??= takes(whiteout) && takes(opaque, makeDirectory)) }
}

const PROBE = Buffer.from('.wh..wh.probe')

const REFUSALS: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS', 'ENXIO'])

function makeDirectory(): void {
  fs.mkdirSync(PROBE)
}

/** An overlay refuses devices 0:0 (EPERM), QEMU's 9p all devices (ENXIO), 9p and others the attribute. */
function takes(mark: (path: Buffer) => void, prepare: () => void = () => undefined): boolean {
  prepare()
  try {
    mark(PROBE)
    return true
  } catch (error) {
    if (error instanceof SyscallError && REFUSALS.has(error.code)) return false
    throw error
  } finally {
    fs.rmSync(PROBE, { recursive: true, force: true })
  }
}

/** Overlayfs' own whiteout. */
export function isWhiteout(stats: fs.Stats | fs.BigIntStats): boolean {
  return stats.isCharacterDevice() && Number(stats.rdev) === 0
}
