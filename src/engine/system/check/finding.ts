/** One thing of a store that is not as it should be. */
export interface CheckFinding {
  /** What kind of thing it is about: `image`, `layer`, `container`, `volume`. */
  readonly about: string
  /** Its name, short: `alpine`, `3f2a9c0b12de`. */
  readonly subject: string
  /** A clause without a subject: `no image names it`. */
  readonly what: string
  /** How it is put right; absent where only a person can decide what to do. */
  readonly mend?: Mend
  /** What a person can do about it. */
  readonly hint?: string
}

export type Mend =
  /** What every command puts right on its way: the sweep of containers, the collection of garbage. */
  | 'sweep'
  | 'collect'
  /** Resolves to false where somebody is in the way, or something must be downloaded. */
  | (() => Promise<boolean> | boolean)

/** A finding, and whether it has been put right. */
export interface CheckResult extends Pick<CheckFinding, 'about' | 'subject' | 'what' | 'hint'> {
  readonly mended: boolean
  /** `--repair` would put it right, or try to. */
  readonly mendable: boolean
}

/** The beginning of an id, as lists show it. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12)
}
