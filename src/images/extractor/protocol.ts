import type { ErrorCode } from '../../model/errors.ts'
import type { UnpackLimits, UnpackUse } from '../budget.ts'
import type { OverlayPrefix } from './marks.ts'

/** What the extractor is asked: JSON, the first thing on its standard input. Its argument is the process that asks. */
export type ExtractorRequest = UnpackRequest | MergeRequest

/** A number on standard input: little-endian. */
export const PROGRESS_BYTES = 8
/** Write a layer. Standard input tells how many bytes of its blob are there, as they become more; its end: that is all. */
export interface UnpackRequest {
  readonly work: 'unpack'
  /** The file of the blob: a descriptor below /proc, since the blob may have got its name by the time it is opened. */
  readonly blob: string
  /** Empty directory that becomes the layer's tree. */
  readonly directory: string
  readonly overlay: OverlayPrefix
  /** Those of the whole image: the parent adds its layers up. */
  readonly limits: UnpackLimits
}

/** Copy a stack of layers into one tree. */
export interface MergeRequest {
  readonly work: 'merge'
  /** Empty directory that becomes the tree. */
  readonly directory: string
  /** Absolute directories of the layers, bottom to top. */
  readonly layers: readonly string[]
  readonly limits: UnpackLimits
}

/** A layer that has been written. Names are bytes written as latin1. */
export interface UnpackedLayer {
  /** sha256 of the uncompressed tar. */
  readonly diffId: string
  readonly use: UnpackUse
  readonly inodes: number
  readonly implied: readonly string[]
  readonly missingLinks: readonly (readonly [name: string, target: string])[]
  /** The tree has marks by name, which overlayfs does not understand: see marks.ts. */
  readonly marked: boolean
  /** The highest uid or gid of its files, where it is beyond 65,535. */
  readonly highestId?: number
}

export interface MergedTree {
  readonly inodes: number
}

/** What it writes on standard output, a line of JSON each: some notes, at the end a reply. */
export type ExtractorLine = { readonly use: UnpackUse } | ExtractorReply

export type ExtractorReply =
  | { readonly ok: true; readonly result: UnpackedLayer | MergedTree }
  | {
      readonly ok: false
      readonly code: ErrorCode
      readonly message: string
      readonly hint?: string
      readonly errno?: string
    }
