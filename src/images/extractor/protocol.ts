import type { ErrorCode } from '../../model/errors.ts'
import type { OverlayPrefix } from './tree.ts'

/** What the extractor is asked, as JSON in its one argument; the blob comes on standard input. */
export interface ExtractRequest {
  /** Empty directory that becomes the layer's tree. */
  readonly directory: string
  readonly overlay: OverlayPrefix
  readonly maxBytes: number
  readonly maxInodes: number
}

/** What it answers, as JSON on standard output. Names are bytes written as latin1. */
export type ExtractReply =
  | {
      readonly ok: true
      /** sha256 of the uncompressed tar. */
      readonly diffId: string
      readonly tarBytes: number
      readonly bytes: number
      readonly inodes: number
      readonly implied: readonly string[]
      readonly missingLinks: readonly (readonly [name: string, target: string])[]
    }
  | {
      readonly ok: false
      readonly code: ErrorCode
      readonly message: string
      readonly hint?: string
      readonly errno?: string
    }
