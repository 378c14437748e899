import type { ChainId, Digest } from '../model/digest.ts'
import type { Descriptor, ImageConfig } from '../model/image.ts'
import { parseJson, readIfThere, writeDurably } from './files.ts'
import { recordPath, type StorePaths } from './layout.ts'

/**
 * What a container start needs of an image. It is written once, from documents that have been checked, so that a
 * run reads two small files and hashes nothing.
 */
export interface ImageRecord {
  readonly id: Digest
  readonly manifest: Descriptor
  readonly config: ImageConfig
  readonly chain: readonly ChainId[]
  /** Bytes of file data in its layers. */
  readonly size: number
  /** The highest uid or gid of its files, where it is beyond 65,535. */
  readonly highestId?: number
}

const VERSION = 1

export function writeRecord(paths: StorePaths, record: ImageRecord): void {
  const config = { ...record.config, labels: [...record.config.labels] }
  writeDurably(recordPath(paths, record.id), JSON.stringify({ version: VERSION, ...record, config }), paths.work)
}

/** Undefined where there is none, a damaged one, or one of a version this program does not know: a pull writes it anew. */
export function readRecord(paths: StorePaths, id: Digest): ImageRecord | undefined {
  const bytes = readIfThere(recordPath(paths, id))
  if (bytes === undefined) return undefined
  const stored = parseJson(bytes) as
    | (Omit<ImageRecord, 'config'> & {
        version: number
        config: Omit<ImageConfig, 'labels'> & { labels: [string, string][] }
      })
    | null
    | undefined
  if (stored?.version !== VERSION) return undefined
  const { version: _, config, ...rest } = stored
  return { ...rest, config: { ...config, labels: new Map(config.labels) } }
}
