import { setTimeout as sleep } from 'node:timers/promises'
import { TscrunError } from '../model/errors.ts'
import type { HttpResponse } from './transport.ts'

/** How often and how patiently a fault of the registry or of the way to it is met. */
export interface RetryPolicy {
  /** Tries after the first one. */
  readonly retries: number
  /** The first pause; each further one is twice as long. */
  readonly delayMs: number
  /** The longest pause a registry may ask for. */
  readonly maxDelayMs: number
}

export const DEFAULT_RETRY: RetryPolicy = { retries: 3, delayMs: 500, maxDelayMs: 60_000 }

/** The registry has trouble of its own (5xx): a later try may fare better. */
export class RegistryOutage extends TscrunError {
  constructor({ message, subject }: TscrunError) {
    super('REGISTRY', message, subject === undefined ? {} : { subject })
  }
}

/** A fault that may pass: the next try is worth it. */
export class PassingFault extends Error {
  readonly fault: TscrunError
  readonly retryAfterMs: number | undefined

  constructor(fault: TscrunError, retryAfterMs?: number) {
    super(fault.message)
    this.fault = fault
    this.retryAfterMs = retryAfterMs
  }
}

/** True for what a later try may not meet: broken connections, not refused certificates or names nobody has. */
export function isPassing(error: unknown): error is TscrunError {
  if (!(error instanceof TscrunError) || error.code !== 'NETWORK') return false
  const code = error.errno ?? ''
  return !/CERT|SELF_SIGNED|UNABLE_TO|ENOTFOUND|ECONNREFUSED|EPROTO|ERR_SSL|ERR_TLS|HPE_HEADER/.test(code)
}

/** Seconds or a date (RFC 9110, 10.2.3) as milliseconds from now. */
export function retryAfterMs(response: HttpResponse, now = Date.now()): number | undefined {
  const text = response.headers.get('retry-after')
  if (text === null) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

export interface RetryListener {
  readonly signal?: AbortSignal
  readonly onRetry?: (reason: string) => void
}

/**
 * After a failure: pauses until the next try is due. Throws what was thrown where it will not pass, where it
 * happened too often in a row (`failures` so far), or where the registry asks for too long a pause.
 */
export async function beforeNextTry(
  policy: RetryPolicy,
  failures: number,
  error: unknown,
  listener: RetryListener,
): Promise<void> {
  const passing = isPassing(error) ? new PassingFault(error) : error
  if (!(passing instanceof PassingFault)) throw error
  const pause = passing.retryAfterMs ?? policy.delayMs * 2 ** failures
  if (failures >= policy.retries || pause > policy.maxDelayMs) throw passing.fault
  listener.onRetry?.(passing.fault.message)
  await pauseFor(pause, listener.signal)
}

/** Runs `attempt` until it succeeds or fails for good. */
export async function withRetries<T>(
  policy: RetryPolicy,
  listener: RetryListener,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      await beforeNextTry(policy, failures, error, listener)
    }
  }
}

async function pauseFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (signal?.aborted) throw new TscrunError('ABORTED', 'pull: interrupted', { cause: error })
    throw error
  }
}
