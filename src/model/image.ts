import type { Digest, DiffId } from './digest.ts'
import type { ImageHealthcheck } from './health.ts'

/** A platform as in an image index (image-spec image-index.md): Go's GOOS, GOARCH and variant names. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

/** image-spec descriptor.md; `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform?: Platform
  /** What a manifest holds that is no image (image-spec 1.1). */
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** One image's manifest (image-spec manifest.md, or Docker's schema 2), checked. */
export interface Manifest {
  readonly mediaType: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

/** The part of an image config tscrun uses (image-spec config.md), checked; env has been split at the first `=`. */
export interface ImageConfig {
  readonly platform: Platform
  readonly created?: string
  readonly diffIds: readonly DiffId[]
  readonly user: string
  /** `NAME=value` each, never without `=`. */
  readonly env: readonly string[]
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  readonly workingDir: string
  readonly labels: ReadonlyMap<string, string>
  readonly volumes: readonly string[]
  readonly exposedPorts: readonly string[]
  readonly stopSignal?: string
  readonly healthcheck?: ImageHealthcheck
}
