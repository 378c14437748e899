/** HEALTHCHECK of an image (docker's image config): absent or 0 is the default. */
export interface ImageHealthcheck {
  /** `['NONE']`, `['CMD', ...words]` or `['CMD-SHELL', line]`; empty is that of the image below, which it has replaced. */
  readonly test: readonly string[]
  readonly intervalMs?: number
  readonly timeoutMs?: number
  readonly startPeriodMs?: number
  readonly startIntervalMs?: number
  readonly retries?: number
}

/** What is done about a container that has become unhealthy. */
export type HealthAction = 'none' | 'kill' | 'restart' | 'stop'

/** What a caller may ask for beside the image's own check; what is absent is as the image has it, or the default. */
export interface HealthOptions {
  /** A line for `/bin/sh -c`, or the words of a command. */
  readonly command?: string | readonly string[]
  /** Between the end of a check and the next one; 30 s by default. */
  readonly intervalMs?: number
  /** How long a check may take; 30 s by default. */
  readonly timeoutMs?: number
  /** So many failures in a row make it unhealthy; 3 by default. */
  readonly retries?: number
  /** Failures do not count so long after the start, until a check has passed; 0 by default. */
  readonly startPeriodMs?: number
  /** Between two checks in that time; 5 s by default. */
  readonly startIntervalMs?: number
  readonly onFailure?: HealthAction
}

/** A check with all that was left open decided. */
export interface HealthCheck extends Required<Omit<HealthOptions, 'command'>> {
  readonly args: readonly string[]
}

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy'
