import { appendFileSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { oneLine } from '../errors.ts'
import { printError } from '../output/print.ts'

export interface LogTarget {
  readonly log?: string
  readonly logFormat: 'text' | 'json'
}

/**
 * Tells a failure where callers look for it: the last `error` line of the log file, and standard error. The file is made
 * where it is missing; one that cannot be written is told on standard error.
 */
export function logError({ log, logFormat }: LogTarget, message: string): void {
  const msg = oneLine(message)
  const line = logLine(logFormat, 'error', msg)
  if (log !== undefined) append(log, line)
  printError(log === undefined && logFormat === 'json' ? line : `tscrun-runtime: ${msg}\n`)
}

/** What went wrong without being a failure of the verb. */
export function logWarning({ log, logFormat }: LogTarget, message: string): void {
  const line = logLine(logFormat, 'warning', oneLine(message))
  if (log === undefined) printError(line)
  else append(log, line)
}

/** A line of `--debug`: in the log file, or on standard error where there is none. */
export function logDebug({ log, logFormat }: LogTarget, message: string): void {
  const line = logLine(logFormat, 'debug', oneLine(message))
  if (log === undefined) printError(line)
  else append(log, line)
}

/** Makes the log where it is missing: callers look into it also when all went well. */
export function openLog({ log }: LogTarget): void {
  if (log !== undefined) append(log, '')
}

function logLine(format: LogTarget['logFormat'], level: 'error' | 'warning' | 'debug', msg: string): string {
  const time = new Date().toISOString()
  if (format === 'json') return `${JSON.stringify({ level, msg, time })}\n`
  return `time="${time}" level=${level} msg=${JSON.stringify(msg)}\n`
}

function append(log: string, line: string): void {
  try {
    appendFileSync(log, line)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    printError(`tscrun-runtime: write ${log}: ${errno}\n`)
  }
}
