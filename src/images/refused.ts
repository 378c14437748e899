import { TscrunError } from '../model/errors.ts'
import { RegistryOutage } from '../registry/retry.ts'
import type { ImageStore } from './store.ts'

/** Refusals of images of which something was in the store by then. */
const refusals = new WeakSet<TscrunError>()

/**
 * To be called where an image fails after something of it was stored; answers the error. What another try would meet again
 * is remembered for `collectRefused`.
 */
export function noteRefused<T>(error: T): T {
  if (error instanceof TscrunError && isFinal(error)) refusals.add(error)
  return error
}

/**
 * Removes what came of an image that was then refused: it is of no use to anybody. What an interruption left, a broken
 * connection too, is of use to the next try. Whoever holds the store lets go of it first.
 */
export async function collectRefused(store: ImageStore, error: unknown): Promise<void> {
  if (error instanceof TscrunError && refusals.has(error)) await store.collect()
}

/** Failures that another try meets again; among those of the store, what its filesystem has no place for. */
function isFinal(error: TscrunError): boolean {
  if (error.code === 'STORE') return CANNOT_HOLD.has(error.errno ?? '')
  return REFUSALS.has(error.code) && !(error instanceof RegistryOutage)
}

const CANNOT_HOLD: ReadonlySet<string> = new Set(['EPERM', 'ENXIO', 'EOPNOTSUPP'])
const REFUSALS: ReadonlySet<string> = new Set([
  'INVALID_IMAGE',
  'DIGEST_MISMATCH',
  'LIMIT_EXCEEDED',
  'WRONG_PLATFORM',
  'NO_SUCH_IMAGE',
  'NO_SPACE',
  'REGISTRY',
])
