import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { DiffId } from '../../model/digest.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { compressionOf, createDecompressor } from '../extractor/decompress.ts'
import { trySetXattr } from '../extractor/kernel.ts'
import { createTarParser } from '../extractor/tar.ts'
import { TEMPORARY_FILE, uniqueWord } from '../files.ts'
import { isMarkedLayer } from '../layout.ts'
import { openLowers } from '../lower.ts'
import { compareTree } from './compare.ts'
import { createExpectedTree, type ExpectedTree } from './expected.ts'

const READ_SIZE = 1 << 20

/** A layer that is unpacked, and where its parts lie. */
export interface UnpackedOne {
  /** Absolute path of its blob, whose digest has been found right: the same bytes were unpacked before. */
  readonly blob: string
  readonly diffId: DiffId
  /** Absolute directory of its tree. */
  readonly tree: string
  /** Directories of the layers below, bottom to top. */
  readonly lowers: readonly string[]
  /** A directory of the same filesystem, for a trial of what that takes. */
  readonly work: string
}

/** Most differences of one layer that are told one by one. */
const MOST_TOLD = 20

/** Compares an unpacked layer with what its blob says; answers a line for each difference. */
export async function compareLayer(layer: UnpackedOne): Promise<readonly string[]> {
  const lines: string[] = []
  let untold = 0
  try {
    const { expected, diffId } = await readArchive(layer)
    if (diffId !== layer.diffId) return [`its blob unpacks to ${diffId}, not to ${layer.diffId}`]
    using lowers = openLowers(layer.lowers)
    compareTree({
      directory: layer.tree,
      expected,
      lowers,
      takes: (name, value) => takes(layer.work, name, value),
      report: (path, what) => {
        if (lines.length < MOST_TOLD) lines.push(`${path} ${what}`)
        else untold++
      },
    })
  } catch (error) {
    // A tree that somebody changes meanwhile, or that is nested deeper than it can be walked.
    if (!(error instanceof TscrunError) && errnoOf(error) === undefined) throw error
    lines.push(`cannot be compared: ${(error as Error).message}`)
  }
  return untold === 0 ? lines : [...lines, `and ${untold} more`]
}

async function readArchive({ blob, tree }: UnpackedOne): Promise<{ expected: ExpectedTree; diffId: string }> {
  const builder = createExpectedTree(isMarkedLayer(tree) ? 'names' : 'overlay')
  const parser = createTarParser(builder)
  const hash = createHash('sha256')
  const onTar = (chunk: Buffer): void => {
    hash.update(chunk)
    parser.write(chunk)
  }
  const fd = fs.openSync(blob, 'r')
  try {
    const start = Buffer.alloc(8)
    const size = fs.readSync(fd, start, 0, start.length, 0)
    const decompressor = createDecompressor(compressionOf(start.subarray(0, size)), onTar)
    for (let at = 0; ; ) {
      // A fresh buffer each time: the decompressor works on the last one meanwhile.
      const buffer = Buffer.allocUnsafeSlow(READ_SIZE)
      const count = fs.readSync(fd, buffer, 0, READ_SIZE, at)
      if (count === 0) break
      await decompressor.write(buffer.subarray(0, count))
      at += count
    }
    if (size > 0) await decompressor.end()
    parser.end()
  } finally {
    fs.closeSync(fd)
  }
  return { expected: builder.finish(), diffId: `sha256:${hash.digest('hex')}` }
}

/** Asked for an attribute that is not there: either somebody took it away, or the filesystem never took it. */
function takes(work: string, name: string, value: Buffer): boolean {
  const path = join(work, `${TEMPORARY_FILE}${uniqueWord()}`)
  const isOfDirectories = name === 'system.posix_acl_default'
  if (isOfDirectories) fs.mkdirSync(path, { mode: 0o700 })
  else fs.writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
  try {
    return trySetXattr(Buffer.from(path), name, value) === undefined
  } finally {
    fs.rmSync(path, { recursive: true, force: true })
  }
}
