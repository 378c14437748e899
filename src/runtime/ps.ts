import { execFileSync } from 'node:child_process'
import { TscrunError } from '../model/errors.ts'
import { readState, statusOf } from './container.ts'
import { containerPids } from './processes.ts'

/** `ps --format json`. Throws NO_SUCH_CONTAINER, or CONTAINER_STATE for one that has stopped. */
export function processIds(root: string, id: string): number[] {
  const state = readState(root, id)
  const status = statusOf(root, state)
  const pids = containerPids(state, status)
  // A shared pid namespace: others may outlive the first process.
  if (pids.length === 0 && !('pid' in status)) {
    throw new TscrunError('CONTAINER_STATE', `container not running: ${id} is ${status.status}`, { subject: id })
  }
  return pids
}

/** `ps ID [options]`: what the host's ps(1) says about the container's processes, `-ef` unless options are given. */
export function processTable(root: string, id: string, options: readonly string[]): string {
  const pids = new Set(processIds(root, id).map(String))
  const [heading = '', ...lines] = runPs(options.length === 0 ? ['-ef'] : options).split('\n')
  const column = heading.trim().split(/\s+/).indexOf('PID')
  if (column < 0) {
    throw new TscrunError('USAGE', 'ps: its output has no column PID', {
      subject: options.join(' '),
      hint: 'give options that show it, e.g. -o pid,comm',
    })
  }
  const ours = lines.filter((line) => pids.has(line.trim().split(/\s+/)[column] ?? ''))
  return [heading, ...ours].map((line) => `${line}\n`).join('')
}

/** Callers' environments may have no PATH. */
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function runPs(options: readonly string[]): string {
  try {
    const env = { ...process.env, PATH: process.env['PATH'] ?? SEARCH_PATH }
    return execFileSync('ps', options, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 })
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string }
    const reason = code === 'ENOENT' ? 'not installed on this host' : (stderr?.trim().split('\n')[0] ?? String(error))
    throw new TscrunError('HOST_UNSUPPORTED', `ps ${options.join(' ')}: ${reason}`, {
      subject: 'ps',
      hint: 'install procps, or use --format json',
      cause: error,
    })
  }
}
