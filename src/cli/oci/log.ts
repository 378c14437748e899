import { appendFileSync } from 'node:fs'
import { oneLine } from '../errors.ts'
import { printError } from '../output/print.ts'

export interface LogTarget {
  readonly log?: string
  readonly logFormat: 'text' | 'json'
}

/**
 * Tells a failure where callers look for it: the last `error` line of the log file, and standard error. The file is made
 * where it is missing.
 */
export function logError({ log, logFormat }: LogTarget, message: string): void {
  const msg = oneLine(message)
  const time = new Date().toISOString()
  const line = logFormat === 'json' ? JSON.stringify({ level: 'error', msg, time }) : textLine(time, msg)
  if (log !== undefined) appendFileSync(log, `${line}\n`)
  printError(log === undefined && logFormat === 'json' ? `${line}\n` : `tscrun-runtime: ${msg}\n`)
}

function textLine(time: string, msg: string): string {
  return `time="${time}" level=error msg=${JSON.stringify(msg)}`
}
