import * as fs from 'node:fs'
import { exceeded, noRoom, tooMuch, type UnpackLimits, type UnpackUse } from '../budget.ts'
import { formatBinary } from '../../model/units.ts'

/** Counts what a layer uses, where it is used; each of these throws LIMIT_EXCEEDED or NO_SPACE. */
export interface Meter {
  /** Bytes that are about to be written. */
  data(bytes: number): void
  /** The size of a file, holes counted. */
  size(bytes: number): void
  /** A member of the archive, or a directory that one implied. */
  entry(): void
  /** Bytes of the archive, as they are read. */
  tar(bytes: number): void
  /** Whole files that have been written at once, after `room` was asked how many may be. */
  files(count: number, bytes: number): void
  /** Files, and bytes of all of them, that can be written before this has to be asked again. */
  room(): { readonly files: number; readonly bytes: number }
  /** A name that is remembered until the end. */
  name(name: Buffer): void
  used(): UnpackUse
}

/** How often it is looked how much room there is, and the parent is told. */
const [STEP_BYTES, STEP_ENTRIES] = [16 << 20, 5000]
const LEAST_STEP = 64 << 10
/** Memory for names: no honest layer has a hundredth of it. */
const MAX_NAMES = 256 << 20
/** What a remembered name costs beside its bytes. */
const NAME_COST = 128

/** @param tell what has been used, now and then; the parent adds up all layers of the image */
export function createMeter(limits: UnpackLimits, tell: (use: UnpackUse) => void): Meter {
  const use = { bytes: 0, sizes: 0, entries: 0, tarBytes: 0 }
  let names = 0
  // Small disks have small reserves, which one step must not use up.
  const step = Math.max(LEAST_STEP, Math.min(STEP_BYTES, limits.reserve === 0 ? STEP_BYTES : limits.reserve / 4))
  let next = { tarBytes: step, entries: STEP_ENTRIES }

  /** Holes are not read but counted at once: `sizes` is looked at with each file. */
  function check(): void {
    const error = exceeded(use, limits)
    if (error !== undefined) throw error
    if (use.tarBytes < next.tarBytes && use.entries < next.entries) return
    next = { tarBytes: use.tarBytes + step, entries: use.entries + STEP_ENTRIES }
    keepReserve(limits.reserve)
    tell({ ...use })
  }

  return {
    data: (bytes) => {
      use.bytes += bytes
      check()
    },
    size: (bytes) => {
      use.sizes += bytes
      check()
    },
    entry: () => {
      use.entries++
      check()
    },
    tar: (bytes) => {
      use.tarBytes += bytes
      check()
    },
    files: (count, bytes) => {
      use.entries += count
      use.bytes += bytes
      use.sizes += bytes
      check()
    },
    room: () => ({
      files: Math.min(limits.entries, next.entries) - use.entries,
      bytes: Math.min(limits.bytes - use.bytes, limits.sizes - use.sizes),
    }),
    name: ({ length }) => {
      names += length + NAME_COST
      if (names > MAX_NAMES) throw tooMuch(`names of more than ${formatBinary(MAX_NAMES)}`)
    },
    used: () => ({ ...use }),
  }
}

/** The filesystem is that of the current directory: blocks, and where they are counted, inodes. */
function keepReserve(reserve: number): void {
  if (reserve === 0) return
  const { blocks, bavail, bsize, files, ffree } = fs.statfsSync('.')
  if (blocks > 0 && bavail * bsize < reserve)
    throw noRoom('unpack layer', `less than ${formatBinary(reserve)} would be left`)
  if (files > 0 && ffree < files / 100) throw noRoom('unpack layer', 'its filesystem can take no more files')
}
