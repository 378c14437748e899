import type { Digest } from '../model/digest.ts'

/** What a layer is going through. */
export type LayerPhase =
  | 'waiting'
  | 'downloading'
  | 'extracting'
  | 'complete'
  | 'exists'
  | 'copying'
  | 'copied'
  | 'mounted'

export type TransferVerb = 'pull' | 'push' | 'copy' | 'load'

/**
 * What happens during a pull, push or copy, in order: one `resolved`, then events of several layers mixed, then `done`.
 * `id` is a blob's digest, sizes are compressed bytes.
 */
export type PullProgress =
  | { readonly type: 'resolved'; readonly verb: TransferVerb; readonly reference: string; readonly digest: Digest }
  | { readonly type: 'layer'; readonly id: Digest; readonly size: number; readonly phase: LayerPhase }
  | { readonly type: 'bytes'; readonly id: Digest; readonly current: number; readonly size: number }
  | { readonly type: 'retry'; readonly id: string; readonly reason: string }
  | {
      readonly type: 'done'
      readonly verb: TransferVerb
      readonly reference: string
      readonly digest: Digest
      readonly fresh: boolean
    }
