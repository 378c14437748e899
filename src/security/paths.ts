/** Files and directories of /proc and /sys that tell about or reach the host, whatever its processors are. */
const MASKED: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  // Counts of the whole machine's interrupts time key strokes of others (GHSA-6fw5-f8r9-fgfm).
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  // Power meters leak what neighbours compute (CVE-2020-8694 "PLATYPUS", GHSA-jq35-85cj-fj4p).
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

const READONLY: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** What a container sees as empty and what it may only read. */
export interface RestrictedPaths {
  readonly masked: readonly string[]
  readonly readonly: readonly string[]
}

export interface PathOptions {
  /** Numbers of the host's processors (/sys/devices/system/cpu/present). */
  readonly cpus: readonly number[]
  /** Further paths to hide; a `:` separates several, as podman's `--security-opt mask=` takes them. */
  readonly mask?: readonly string[]
  /** `ALL`, or paths to leave as the kernel made them; `*` and `?` match within one component, `:` separates. */
  readonly unmask?: readonly string[]
}

/**
 * The paths of a container to mask and to make read-only: docker's set, the side channels closed since, and what
 * `--security-opt mask=/unmask=` change. Pure; a path that does not exist on the kernel at hand is skipped when mounting.
 */
export function restrictedPaths({ cpus, mask = [], unmask = [] }: PathOptions): RestrictedPaths {
  const throttles = cpus.map((cpu) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`)
  const patterns = unmask.flatMap(splitPaths)
  const opened = patterns.some((pattern) => pattern.toLowerCase() === 'all')
    ? () => true
    : matcher(patterns.map(withoutTrailingSlash))
  const asked = mask.flatMap(splitPaths).map(withoutTrailingSlash)
  return {
    // What is asked for is masked even if a default of the same name is opened.
    masked: [...new Set([...[...MASKED, ...throttles].filter((path) => !opened(path)), ...asked])],
    readonly: READONLY.filter((path) => !opened(path)),
  }
}

function splitPaths(text: string): string[] {
  return text.split(':').filter((path) => path !== '')
}

function withoutTrailingSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path
}

function matcher(patterns: readonly string[]): (path: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const source = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]')
    return new RegExp(`^${source}$`)
  })
  return (path) => expressions.some((expression) => expression.test(path))
}
