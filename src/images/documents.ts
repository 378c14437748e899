import { parseDiffId, parseDigest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, ImageConfig, Manifest, Platform } from '../model/image.ts'
import { completeSignal } from '../model/kernel-names.ts'
import { formatPlatform, normalizePlatform, platformDistance } from '../model/platform.ts'
import * as json from './json.ts'

/** Limits on what an image may declare (bytes, counts). */
export const LIMITS = {
  manifest: 4 << 20,
  config: 8 << 20,
  layers: 500,
  descriptors: 10_000,
  indexDepth: 4,
  /** That are looked through for a platform. */
  indexes: 50,
} as const

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const

const CONFIG_TYPES = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
])

/** Tar layers; what compresses them is told by their first bytes, not by this label. */
const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[+.](?:gzip|zstd))?$/

export interface ImageIndex {
  readonly mediaType: string
  readonly manifests: readonly Descriptor[]
}

/**
 * Parses an image manifest or an index (OCI image-spec manifest.md, image-index.md; Docker's schema 2).
 * A document that could be read as both, or as another type than `mediaType` says, is refused (CVE-2021-41190).
 */
export function parseManifest(
  bytes: Uint8Array,
  mediaType: string | undefined,
  where: string,
  options: ManifestOptions = {},
): Manifest | ImageIndex {
  const document = json.parseJsonObject(bytes, where, LIMITS.manifest)
  const declared = json.optionalString(document, 'mediaType', where)
  const type = declared ?? mediaType
  if (declared !== undefined && mediaType !== undefined && isKnown(mediaType) && declared !== mediaType) {
    throw json.invalid(where, `it calls itself ${quote(declared)} but was announced as ${quote(mediaType)}`)
  }
  if (json.get(document, 'fsLayers') !== undefined) {
    throw json.invalid(where, "Docker's old manifest schema 1, which is not supported")
  }
  if (json.get(document, 'schemaVersion') !== 2) throw json.invalid(where, 'schemaVersion is not 2')
  const hasManifests = json.get(document, 'manifests') !== undefined
  const hasLayers = json.get(document, 'layers') !== undefined || json.get(document, 'config') !== undefined
  if (hasManifests === hasLayers) throw json.invalid(where, 'neither clearly a manifest nor clearly an index')
  const isIndexType = type === MEDIA_TYPES.ociIndex || type === MEDIA_TYPES.dockerList
  const isManifestType = type === MEDIA_TYPES.ociManifest || type === MEDIA_TYPES.dockerManifest
  if ((isIndexType && !hasManifests) || (isManifestType && !hasLayers)) {
    throw json.invalid(where, `its content is not what its type ${quote(type ?? '')} says`)
  }
  if (hasManifests) {
    const manifests = json.list(document, 'manifests', where, LIMITS.descriptors)
    return {
      mediaType: isIndexType ? (type ?? '') : MEDIA_TYPES.ociIndex,
      manifests: manifests.map((item) => descriptor(item, where)),
    }
  }
  return imageManifest(document, isManifestType ? (type ?? '') : MEDIA_TYPES.ociManifest, where, options)
}

export interface ManifestOptions {
  /** Also takes manifests whose parts are no image's: attestations, signatures. They can be copied, not run. */
  readonly artifacts?: boolean
}

function imageManifest(
  document: json.JsonObject,
  mediaType: string,
  where: string,
  { artifacts = false }: ManifestOptions,
): Manifest {
  const config = descriptor(json.get(document, 'config'), `${where} config`)
  if (!artifacts && !CONFIG_TYPES.has(config.mediaType)) {
    throw json.invalid(where, `not a container image: its config is of type ${quote(config.mediaType)}`)
  }
  if (config.size > LIMITS.config) {
    throw new TscrunError('LIMIT_EXCEEDED', `${where}: a config of ${config.size} bytes, more than ${LIMITS.config}`)
  }
  const layers = json.list(document, 'layers', where, LIMITS.layers).map((item) => descriptor(item, `${where} layer`))
  for (const layer of artifacts ? [] : layers) {
    if (!LAYER_TYPE.test(layer.mediaType)) throw json.invalid(where, `unknown layer type ${quote(layer.mediaType)}`)
  }
  return { mediaType, config, layers }
}

function isKnown(mediaType: string): boolean {
  return (Object.values(MEDIA_TYPES) as string[]).includes(mediaType)
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 150))
}

function descriptor(value: unknown, where: string): Descriptor {
  const object = json.asObject(value, where)
  const platform = json.get(object, 'platform')
  const annotations = json.stringMap(object, 'annotations', where)
  const artifactType = json.optionalString(object, 'artifactType', where)
  return {
    mediaType: json.requiredString(object, 'mediaType', where),
    digest: parseDigest(json.get(object, 'digest'), where),
    size: json.requiredSize(object, 'size', where),
    ...(platform === undefined ? {} : { platform: platformOf(json.asObject(platform, where), where) }),
    ...(artifactType === undefined || artifactType === '' ? {} : { artifactType }),
    ...(annotations.size === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
  }
}

function platformOf(object: json.JsonObject, where: string): Platform {
  const variant = json.optionalString(object, 'variant', where)
  return {
    os: json.optionalString(object, 'os', where) ?? '',
    architecture: json.optionalString(object, 'architecture', where) ?? '',
    ...(variant === undefined || variant === '' ? {} : { variant }),
  }
}

export interface PlatformChoice {
  readonly entries: readonly Descriptor[]
  /** Platforms that are named. */
  readonly offered: readonly string[]
}

/**
 * The entries of an index that may serve a platform: the one that serves it best, then those that do not say what they
 * are for. Attestations (`unknown/unknown`) and artifacts are no platforms.
 */
export function choosePlatform(index: ImageIndex, wanted: Platform): PlatformChoice {
  let best: { readonly entry: Descriptor; readonly distance: number } | undefined
  const silent: Descriptor[] = []
  const offered: string[] = []
  for (const entry of index.manifests) {
    if (isAttestation(entry) || !isKnown(entry.mediaType)) continue
    if (entry.platform === undefined) {
      silent.push(entry)
      continue
    }
    offered.push(formatPlatform(normalizePlatform(entry.platform)))
    const distance = platformDistance(wanted, entry.platform)
    if (distance !== undefined && (best === undefined || distance < best.distance)) best = { entry, distance }
  }
  return { entries: best === undefined ? silent : [best.entry, ...silent], offered }
}

function isAttestation(entry: Descriptor): boolean {
  return (
    (entry.artifactType !== undefined && !CONFIG_TYPES.has(entry.artifactType)) ||
    entry.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
    (entry.platform?.os === 'unknown' && entry.platform.architecture === 'unknown')
  )
}

export function wrongPlatform(where: string, wanted: Platform, offered: readonly string[]): TscrunError {
  const there = offered.length === 0 ? 'no platform' : offered.slice(0, 20).join(', ')
  return new TscrunError('WRONG_PLATFORM', `${where}: not made for ${formatPlatform(wanted)}; it has ${there}`, {
    subject: where,
    hint: offered.length === 0 ? 'it is not a container image' : `choose one with --platform ${offered[0]}`,
  })
}

const ENV = /^[^=\0]+=/

/** Parses an image's config (OCI image-spec config.md). Env without a name or `=` is refused (CVE-2026-57231). */
export function parseImageConfig(bytes: Uint8Array, where: string): ImageConfig {
  const document = json.parseJsonObject(bytes, where, LIMITS.config)
  const rootfs = json.asObject(json.get(document, 'rootfs'), `${where} rootfs`)
  if (json.get(rootfs, 'type') !== 'layers') throw json.invalid(where, 'rootfs.type is not "layers"')
  const config = json.asObject(json.get(document, 'config') ?? {}, `${where} config`)
  const env = json.stringList(config, 'Env', where)
  for (const item of env) {
    if (!ENV.test(item)) throw json.invalid(where, `environment ${quote(item)} is not NAME=value`)
  }
  const created = json.optionalString(document, 'created', where)
  const stopSignal = completeSignal(json.optionalString(config, 'StopSignal', where) ?? '')
  return {
    platform: normalizePlatform(platformOf(document, where)),
    ...(created !== undefined && !Number.isNaN(Date.parse(created)) ? { created } : {}),
    diffIds: json.list(rootfs, 'diff_ids', where, LIMITS.layers).map((item) => parseDiffId(item, `${where} diff_ids`)),
    user: json.optionalString(config, 'User', where) ?? '',
    env,
    entrypoint: json.stringList(config, 'Entrypoint', where),
    cmd: json.stringList(config, 'Cmd', where),
    workingDir: json.optionalString(config, 'WorkingDir', where) ?? '',
    labels: json.stringMap(config, 'Labels', where),
    volumes: json.keyList(config, 'Volumes', where),
    exposedPorts: json.keyList(config, 'ExposedPorts', where),
    // One that no kernel has would keep a container from being stopped.
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...healthcheckOf(json.get(config, 'Healthcheck'), json.stringList(config, 'Shell', where), where),
  }
}

/** docker's `Healthcheck`, whose times are nanoseconds. Its shell form is run by the image's own shell, where it has one. */
function healthcheckOf(value: unknown, shell: readonly string[], where: string): Pick<ImageConfig, 'healthcheck'> {
  if (value === undefined) return {}
  const at = `${where} Healthcheck`
  const object = json.asObject(value, at)
  const [kind, ...words] = json.stringList(object, 'Test', at)
  if (kind === undefined) return {}
  const test = kind === 'CMD-SHELL' && shell.length > 0 ? ['CMD', ...shell, ...words] : [kind, ...words]
  const times = [
    ['Interval', 'intervalMs'],
    ['Timeout', 'timeoutMs'],
    ['StartPeriod', 'startPeriodMs'],
    ['StartInterval', 'startIntervalMs'],
  ] as const
  const found: Partial<Record<(typeof times)[number][1], number>> = {}
  for (const [key, name] of times) {
    const ms = json.countOr(object, key, 0, at) / 1e6
    if (ms > 0) found[name] = Math.max(1, Math.round(ms))
  }
  const retries = json.countOr(object, 'Retries', 0, at)
  return { healthcheck: { test, ...found, ...(retries > 0 ? { retries } : {}) } }
}
