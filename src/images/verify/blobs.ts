import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { type Digest, hexOf } from '../../model/digest.ts'
import { errnoOf } from '../../model/errors.ts'
import { blobPath, type StorePaths } from '../layout.ts'

const READ_SIZE = 1 << 20

/** What is wrong with a stored blob, in a clause; undefined for one that is whole. Without a size any will do. */
export type BlobChecker = (digest: Digest, size?: number) => string | undefined

/** Reads each blob once, however many images have it. With `quick` only its size is looked at. */
export function createBlobChecker(
  paths: StorePaths,
  { quick = false }: { readonly quick?: boolean } = {},
): BlobChecker {
  const read = new Map<Digest, string | undefined>()
  return (digest, size) => {
    const path = blobPath(paths, digest)
    const stats = fs.lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) return 'is missing'
    if (!stats.isFile()) return 'is no file'
    if (size !== undefined && stats.size !== size) return `has ${stats.size} bytes, not ${size}`
    if (quick) return undefined
    if (!read.has(digest)) read.set(digest, readWrong(path, digest))
    return read.get(digest)
  }
}

function readWrong(path: string, digest: Digest): string | undefined {
  try {
    return fileHash(path) === hexOf(digest) ? undefined : 'has other bytes than its digest says'
  } catch (error) {
    // EIO: the disk does not give it back.
    if (errnoOf(error) === undefined) throw error
    return `cannot be read: ${(error as Error).message}`
  }
}

function fileHash(path: string): string {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(READ_SIZE)
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
  try {
    for (;;) {
      const size = fs.readSync(fd, buffer)
      if (size === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, size))
    }
  } finally {
    fs.closeSync(fd)
  }
}
