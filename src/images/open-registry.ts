import { formatReference, type Reference } from '../model/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import { blocked, endpointsFor, pushEndpoint, ruleFor } from '../registry/endpoints.ts'
import type { Environment } from '../registry/environment.ts'
import { openMirrored, type ReadOptions } from '../registry/mirrors.ts'
import { loadRegistriesConf, type RegistriesConf } from '../registry/registries-conf.ts'
import type { RegistrySettings } from '../registry/registry-settings.ts'
import { DEFAULT_RETRY } from '../registry/retry.ts'
import { openSession, type RegistryAccess, type Session } from '../registry/session.ts'
import type { PullProgress } from './progress.ts'

/** What every use of a registry takes. */
export interface ReachOptions extends RegistryAccess {
  readonly signal?: AbortSignal
  readonly env?: Environment
  /** Beside the host's files. */
  readonly registries?: RegistrySettings
  readonly onProgress?: (event: PullProgress) => void
  readonly onDebug?: (line: string) => void
  /** For tests: a registry that never answers is given up after this. */
  readonly idleTimeoutMs?: number
  /** The first pause before another try. */
  readonly retryDelayMs?: number
}

/** Where an image is read from: mirrors and other locations as registries.conf says. Throws REGISTRY_BLOCKED. */
export function openForReading(reference: Reference, options: ReachOptions): RegistryClient {
  const conf = loadRegistriesConf(options.env ?? process.env, options.registries)
  return openMirrored(endpointsFor(conf, reference), reachOf(conf, options, formatReference(reference)))
}

/** Where an image is pushed to. Throws REGISTRY_BLOCKED. */
export function openForPush(reference: Reference, options: ReachOptions): Session {
  const conf = loadRegistriesConf(options.env ?? process.env, options.registries)
  const { insecure } = pushEndpoint(conf, reference)
  const { registry, repository } = reference
  const reach = reachOf(conf, options, formatReference(reference))
  return openSession({ ...reach, registry, repository, verb: 'push', tlsVerify: options.tlsVerify ?? !insecure })
}

/** A registry as a whole, or one repository of it, for requests that are about no image. Throws REGISTRY_BLOCKED. */
export function openForSearch(
  registry: string,
  options: ReachOptions,
  verb: 'search' | 'login',
  repository = '',
): Session {
  const conf = loadRegistriesConf(options.env ?? process.env, options.registries)
  const rule = ruleFor(conf, registry)
  if (rule?.blocked === true) throw blocked(registry, rule)
  const reach = reachOf(conf, options, registry)
  return openSession({ ...reach, registry, repository, verb, tlsVerify: options.tlsVerify ?? rule?.insecure !== true })
}

/** `id` is what a retry is reported under. */
export function reachOf(conf: RegistriesConf, options: ReachOptions, id: string): ReadOptions {
  const { tlsVerify, creds, authFile, certDir, signal, env, idleTimeoutMs, retryDelayMs, onProgress, onDebug } = options
  return {
    logins: {
      helpers: conf.credentialHelpers,
      ...(creds === undefined ? {} : { creds }),
      ...(authFile === undefined ? {} : { authFile }),
    },
    ...(tlsVerify === undefined ? {} : { tlsVerify }),
    ...(certDir === undefined ? {} : { certDir }),
    ...(signal === undefined ? {} : { signal }),
    ...(env === undefined ? {} : { env }),
    ...(onDebug === undefined ? {} : { onDebug }),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    ...(retryDelayMs === undefined ? {} : { retry: { ...DEFAULT_RETRY, delayMs: retryDelayMs } }),
    onRetry: (reason) => onProgress?.({ type: 'retry', id, reason }),
  }
}
