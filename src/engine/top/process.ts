import { readFileSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'

/** A process as the host's /proc shows it (proc_pid_stat(5), proc_pid_status(5)). */
export interface ProcessFacts {
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly session: number
  /** The number of its terminal's device; 0 without one. */
  readonly tty: number
  /** The group in the foreground of that terminal. */
  readonly foreground: number
  readonly state: string
  readonly nice: number
  readonly threads: number
  readonly comm: string
  /** Its words; empty for one that has none left. */
  readonly args: readonly string[]
  /** Seconds of processor time. */
  readonly cpuSeconds: number
  /** Seconds since it began. */
  readonly ageSeconds: number
  readonly virtualBytes: number
  readonly residentBytes: number
  /** real, effective, saved, filesystem. */
  readonly uids: readonly number[]
  readonly gids: readonly number[]
  readonly groups: readonly number[]
  /** Its numbers from the host's pid namespace to its own. */
  readonly pids: readonly number[]
  /** Hexadecimal masks by name: `CapEff`. */
  readonly capabilities: Readonly<Record<string, string>>
  /** 0 none, 1 strict, 2 filter. */
  readonly seccomp: number
  /** Of an LSM; '' without one. */
  readonly label: string
}

/** USER_HZ, in which the kernel counts for programs on every processor that tscrun knows. */
const TICKS = 100
const LINE_BYTES = 64 * 1024

/** Undefined for one that has ended. `upSeconds`: since the boot. */
export function readProcess(pid: number, upSeconds: number): ProcessFacts | undefined {
  const stat = readProc(pid, 'stat')
  const status = readProc(pid, 'status')
  if (stat === undefined || status === undefined) return undefined
  // The name in parentheses may hold anything, also spaces and parentheses.
  const [begin, end] = [stat.indexOf('('), stat.lastIndexOf(')')]
  const fields = stat.slice(end + 2).split(' ')
  const number = (field: number): number => Number(fields[field - 3] ?? 0)
  const lines = new Map(
    status.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const numbers = (name: string): number[] =>
    (lines.get(name) ?? '')
      .split(/\s+/)
      .filter((word) => word !== '')
      .map(Number)
  return {
    pid,
    state: fields[0] ?? '?',
    ppid: number(4),
    pgid: number(5),
    session: number(6),
    tty: number(7),
    foreground: number(8),
    cpuSeconds: (number(14) + number(15)) / TICKS,
    nice: number(19),
    threads: number(20),
    ageSeconds: Math.max(0, upSeconds - number(22) / TICKS),
    virtualBytes: number(23),
    residentBytes: Number.parseInt(lines.get('VmRSS') ?? '0', 10) * 1024,
    comm: stat.slice(begin + 1, end),
    args: wordsOf(readProc(pid, 'cmdline') ?? ''),
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    pids: numbers('NSpid'),
    capabilities: Object.fromEntries([...lines].filter(([name]) => name.startsWith('Cap'))),
    seccomp: Number(lines.get('Seccomp') ?? 0),
    label: (readProc(pid, 'attr/current') ?? '').replace(/\0+$/, '').trim(),
  }
}

/** Since the boot. */
export function upSeconds(): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
}

/** A process may put anything in place of its words, of any length. */
function wordsOf(text: string): string[] {
  return text
    .slice(0, LINE_BYTES)
    .replace(/\0+$/, '')
    .split('\0')
    .filter((word, index) => word !== '' || index > 0)
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    // It has ended; or it has no such thing (EINVAL: a label without an LSM).
    if (errno === 'ENOENT' || errno === 'ESRCH' || errno === 'EINVAL' || errno === 'EACCES') return undefined
    throw error
  }
}
