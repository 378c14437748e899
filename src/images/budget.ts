import { statfsSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { formatBinary, formatBytes } from '../model/units.ts'

/** What unpacking an image may take, all its layers together. */
export interface UnpackLimits {
  /** Bytes that are written: data of files without holes, values of attributes. */
  readonly bytes: number
  /** Sizes of all files, holes counted; also of the longest single one. */
  readonly sizes: number
  /** Members of archives, and directories that these only imply. */
  readonly entries: number
  /** Bytes of the tars themselves: headers and what nobody keeps. */
  readonly tarBytes: number
  /** Processor time of the unpacking of one layer. */
  readonly cpuSeconds: number
  /** Bytes that the filesystem of the store keeps free. */
  readonly reserve: number
  /** For people: what the image weighs, where that is what the limit comes from. */
  readonly of?: string
}

/** What has been used of them. */
export interface UnpackUse {
  readonly bytes: number
  readonly sizes: number
  readonly entries: number
  readonly tarBytes: number
}

/** Images of less than a hundredth of this unpack to as much as this: an empty disk of a virtual machine in it is none. */
const LEAST_BYTES = 10 * 2 ** 30
const MOST_BYTES = 2 ** 40
/** gzip packs 1030 zeros into a byte; what people put into images is packed by 2 to 5, logs and dumps by 20. */
const RATIO = 100
/** What is taken for no limit at all. */
const UNLIMITED = 2 ** 52

/** A file takes a block and an inode, however small it is. */
const BYTES_PER_ENTRY = 4096
const [LEAST_ENTRIES, MOST_ENTRIES] = [10_000, 10_000_000]

/** The slowest processor that tscrun meets is an emulated one: it unpacks some 5 MB a second. */
const [LEAST_SECONDS, BYTES_PER_SECOND] = [600, 4 << 20]

/** Bytes that an image may unpack to where nobody says how many: a multiple of what is fetched of it. */
function usualBytes(fetched: number): number {
  return clamp(fetched * RATIO, LEAST_BYTES, MOST_BYTES)
}

/**
 * The limits of one image.
 *
 * @param asked bytes by the caller (`--max-unpack-size`); 0 is no limit, undefined leaves it to the weight of the image
 * @param fetched bytes of its layers' blobs, as they are transferred
 * @param root a directory of the store
 */
export function unpackLimits(asked: number | undefined, fetched: number, root: string): UnpackLimits {
  const bytes = asked === undefined ? usualBytes(fetched) : asked === 0 ? UNLIMITED : asked
  const entries = clamp(Math.ceil(bytes / BYTES_PER_ENTRY), LEAST_ENTRIES, MOST_ENTRIES)
  return {
    bytes,
    // A hole takes no room, but whoever copies the file may not know that.
    sizes: asked === undefined ? Math.max(bytes, MOST_BYTES) : bytes,
    entries,
    tarBytes: bytes + entries * BYTES_PER_ENTRY,
    cpuSeconds: LEAST_SECONDS + Math.ceil(bytes / BYTES_PER_SECOND),
    reserve: asked === undefined ? reserveOf(root) : 0,
    ...(asked === undefined ? { of: formatBytes(fetched) } : {}),
  }
}

/** Bytes that a stream may be decompressed to, of which so many have been read. */
export function streamLimit(asked: number | undefined, read: number): number {
  // Headers and padding on top, as for the tars of layers.
  return 2 * (asked === undefined ? usualBytes(read) : asked === 0 ? UNLIMITED : asked)
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}

/** A hundredth of the filesystem, at most 1 GiB: other programs of the machine want to write too. */
export function reserveOf(root: string): number {
  const { blocks, bsize } = statfsSync(root)
  return Math.min(2 ** 30, Math.floor((blocks * bsize) / 100))
}

/** Throws NO_SPACE where `bytes` more would leave less than the reserve; where there is no telling, nothing. */
export function requireRoom(root: string, bytes: number, reserve: number, doing: string): void {
  const { blocks, bavail, bsize } = statfsSync(root)
  const free = bavail * bsize
  if (blocks === 0 || free - bytes >= reserve) return
  throw noRoom(
    doing,
    bytes === 0
      ? `less than ${formatBinary(reserve)} is left`
      : `${formatBytes(bytes)} are needed, ${formatBytes(free)} are free`,
  )
}

export function noRoom(doing: string, reason: string): TscrunError {
  return new TscrunError('NO_SPACE', `${doing}: ENOSPC: ${reason}`, {
    errno: 'ENOSPC',
    hint: 'make room, or move the store with --root',
  })
}

/** The first limit that is exceeded, as an error; undefined while all are kept. */
export function exceeded(use: UnpackUse, limits: UnpackLimits): TscrunError | undefined {
  const of = limits.of === undefined ? '' : ` from an image of ${limits.of}`
  if (use.bytes > limits.bytes) return tooMuch(`more than ${formatBinary(limits.bytes)} of files${of}`)
  if (use.sizes > limits.sizes) return tooMuch(`more than ${formatBinary(limits.sizes)} of files, holes counted`)
  if (use.entries > limits.entries) return tooMuch(`more than ${limits.entries} files${of}`)
  if (use.tarBytes > limits.tarBytes) return tooMuch(`more than ${formatBinary(limits.tarBytes)} of archives${of}`)
  return undefined
}

export function tooMuch(reason: string, doing = 'unpack layer'): TscrunError {
  return new TscrunError('LIMIT_EXCEEDED', `${doing}: ${reason}`, {
    hint: 'if you trust it, allow more with --max-unpack-size',
  })
}

/** Adds up what the layers of an image use while several are unpacked at once. */
export interface ImageBudget {
  readonly limits: UnpackLimits
  /** Notes what a layer has used so far, in place of what was noted for it before. Throws LIMIT_EXCEEDED. */
  note(layer: string, use: UnpackUse): void
}

export function createImageBudget(limits: UnpackLimits): ImageBudget {
  const layers = new Map<string, UnpackUse>()
  return {
    limits,
    note(layer, use) {
      layers.set(layer, use)
      const all = { bytes: 0, sizes: 0, entries: 0, tarBytes: 0 }
      for (const one of layers.values()) {
        for (const key of ['bytes', 'sizes', 'entries', 'tarBytes'] as const) all[key] += one[key]
      }
      const error = exceeded(all, limits)
      if (error !== undefined) throw error
    },
  }
}
