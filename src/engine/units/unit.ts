/** Units of systemd that run containers, as text (systemd.unit(5), systemd.service(5)). Nothing is read or written here. */

export interface UnitContext {
  /** Absolute path of `tscrun`, and the flags before the command. */
  readonly program: readonly string[]
  /** Environment of the commands. */
  readonly environment: Readonly<Record<string, string>>
  /** Directories that must be mounted. */
  readonly directories: readonly string[]
}

export type UnitRestart = 'no' | 'always' | 'on-success' | 'on-failure' | 'on-abnormal' | 'on-abort' | 'on-watchdog'

export interface ContainerUnit {
  /** What the commands call the container: its name, or its id. */
  readonly container: string
  readonly restart: UnitRestart
  /** How long a stop may take before the container is killed. */
  readonly stopSeconds: number
  /** Number of the signal that stops it. */
  readonly stopSignal: number
  /** Names of units that must run: those of containers whose namespaces it joins. */
  readonly requires: readonly string[]
  /** `--new`: the flags and words of the `run` that makes it at each start. */
  readonly run?: readonly string[]
  /** Where paths in `run` begin. */
  readonly directory?: string
}

/** After the container was killed: its monitor has files to put away. */
const GRACE_SECONDS = 20
/** An image may have to be pulled first. */
const PULL_SECONDS = 900

export function unitName(container: string): string {
  return `container-${container}.service`
}

/**
 * One container as a service. The main process is the container's monitor, found by its pid file: it lives in a cgroup of
 * its own beside the container's, so the unit's cgroup is empty while it runs. It ends as the container ends.
 */
export function containerUnit(context: UnitContext, unit: ContainerUnit): string {
  const { container, run, stopSeconds, requires } = unit
  const pidfile = `%t/tscrun-${escapeSpecifiers(container)}.pid`
  const pidflag = { raw: `--monitor-pidfile=${pidfile}` }
  const start =
    run === undefined
      ? command(context, ['start', pidflag, container])
      : command(context, ['run', '--detach', '--rm', pidflag, ...run])
  return lines([
    '[Unit]',
    `Description=Container ${escapeSpecifiers(container)} of tscrun`,
    ...ordering(context),
    ...requires.flatMap((name) => [`Requires=${escapeSpecifiers(name)}`, `After=${escapeSpecifiers(name)}`]),
    '',
    '[Service]',
    ...environmentLines(context),
    ...(unit.directory === undefined || unit.directory === '/'
      ? []
      : [`WorkingDirectory=${escapeSpecifiers(unit.directory)}`]),
    'Type=forking',
    `PIDFile=${pidfile}`,
    // What an earlier start left when the machine lost its power.
    ...(run === undefined ? [] : [`ExecStartPre=-${command(context, ['rm', '--force', container])}`]),
    `ExecStart=${start}`,
    // One that has ended by itself, and removed itself, is no failure to stop.
    `ExecStop=${run === undefined ? '' : '-'}${command(context, ['stop', `--time=${stopSeconds}`, container])}`,
    `Restart=${unit.restart}`,
    `SuccessExitStatus=${128 + unit.stopSignal}`,
    ...(run === undefined ? [] : [`TimeoutStartSec=${PULL_SECONDS}`]),
    `TimeoutStopSec=${stopSeconds + GRACE_SECONDS}`,
    '',
    ...install(),
  ])
}

/** At the boot starts what is to run then, at the shutdown stops what runs. */
export function bootUnit(context: UnitContext): string {
  return lines([
    '[Unit]',
    'Description=Containers of tscrun that start at boot',
    ...ordering(context),
    '',
    '[Service]',
    ...environmentLines(context),
    'Type=oneshot',
    'RemainAfterExit=yes',
    `ExecStart=${command(context, ['start', '--all', '--filter', 'should-start-on-boot=true'])}`,
    `ExecStop=${command(context, ['stop', '--all', '--shutdown'])}`,
    `TimeoutStartSec=${PULL_SECONDS}`,
    'TimeoutStopSec=120',
    '',
    ...install(),
  ])
}

function ordering({ directories }: UnitContext): string[] {
  const paths = directories.map((path) => quote(escapeSpecifiers(path)))
  return [
    'Wants=network-online.target',
    'After=network-online.target local-fs.target',
    `RequiresMountsFor=${paths.join(' ')}`,
  ]
}

function environmentLines({ environment }: UnitContext): string[] {
  return Object.entries(environment).map(
    ([name, value]) => `Environment=${quote(escapeSpecifiers(`${name}=${value}`))}`,
  )
}

function install(): string[] {
  return ['[Install]', 'WantedBy=multi-user.target']
}

function command({ program }: UnitContext, words: readonly (string | { readonly raw: string })[]): string {
  return [...program, ...words]
    .map((word) => (typeof word === 'string' ? quote(escapeSpecifiers(word).replaceAll('$', '$$$$')) : quote(word.raw)))
    .join(' ')
}

/** `%` begins a specifier (systemd.unit(5)). */
export function escapeSpecifiers(text: string): string {
  return text.replaceAll('%', '%%')
}

/** C's escapes within quotes (systemd.syntax(7)). */
export function quote(text: string): string {
  if (/^[\w@%+=:,./$-]+$/.test(text)) return text
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    .replaceAll(/[\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return `"${escaped}"`
}

function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`
}
