import { ALL, CIDFILE, FILTER as CHOOSE, IGNORE, LATEST } from './choice.ts'
import { type Flag, HELP_FLAG } from './flag.ts'
import { RUN_FLAGS } from './run.ts'

const TIME: Flag = {
  name: 'time',
  short: 't',
  kind: 'string',
  value: 'seconds',
  aliases: ['timeout'],
  help: 'How long it may take before the container is killed (default 10)',
}

const SIGNAL: Flag = { name: 'signal', short: 's', kind: 'string', value: 'signal', help: 'Signal to send' }

const FILTER: Flag = {
  name: 'filter',
  short: 'f',
  kind: 'list',
  value: 'key=value',
  help: 'With --all: restart-policy=always, should-start-on-boot=true, and those of ps',
}

export const STOP_FLAGS: readonly Flag[] = [
  ALL,
  CIDFILE,
  FILTER,
  HELP_FLAG,
  IGNORE,
  LATEST,
  {
    name: 'shutdown',
    kind: 'bool',
    help: 'Because the machine goes down: what starts at boot starts again then, also unless-stopped',
  },
  SIGNAL,
  TIME,
]
export const RESTART_FLAGS: readonly Flag[] = [
  ALL,
  CIDFILE,
  CHOOSE,
  HELP_FLAG,
  LATEST,
  { name: 'running', kind: 'bool', help: 'With --all: only those that run' },
  SIGNAL,
  TIME,
]
export const KILL_FLAGS: readonly Flag[] = [ALL, CIDFILE, CHOOSE, HELP_FLAG, LATEST, SIGNAL]
export const PAUSE_FLAGS: readonly Flag[] = [ALL, CIDFILE, CHOOSE, HELP_FLAG, LATEST]
export const WAIT_FLAGS: readonly Flag[] = [HELP_FLAG, LATEST]
/** Behind its name are words of its own. */
export const TOP_FLAGS: readonly Flag[] = [HELP_FLAG, LATEST]
export const PLAIN_FLAGS: readonly Flag[] = [HELP_FLAG]

const DETACH_KEYS: Flag = {
  name: 'detach-keys',
  kind: 'string',
  value: 'keys',
  help: "Keys that end the connection and leave the container running; '' for none (default ctrl-p,ctrl-q)",
}

const SIG_PROXY: Flag = { name: 'sig-proxy', kind: 'bool', help: 'Hand signals on to the container (default true)' }

export const START_FLAGS: readonly Flag[] = [
  { name: 'all', kind: 'bool', help: 'All containers that do not run, or those that --filter leaves' },
  FILTER,
  { name: 'attach', short: 'a', kind: 'bool', help: "Connect with the container's output, and end as it ends" },
  DETACH_KEYS,
  HELP_FLAG,
  { name: 'interactive', short: 'i', kind: 'bool', help: 'Connect standard input, too' },
  LATEST,
  {
    name: 'monitor-pidfile',
    kind: 'string',
    value: 'file',
    help: 'Write the pid of the monitor to a file, for systemd',
    aliases: ['conmon-pidfile'],
  },
  SIG_PROXY,
]

export const ATTACH_FLAGS: readonly Flag[] = [
  DETACH_KEYS,
  HELP_FLAG,
  LATEST,
  { name: 'no-stdin', kind: 'bool', help: 'Do not connect standard input' },
  SIG_PROXY,
]

export const GENERATE_FLAGS: readonly Flag[] = [
  {
    name: 'all',
    kind: 'bool',
    help: 'One unit that starts at boot what is to run then, and stops all at the shutdown',
  },
  HELP_FLAG,
  { name: 'name', short: 'n', kind: 'bool', help: 'Name the container by its name and not by its id (default true)' },
  { name: 'new', kind: 'bool', help: 'Make a new container at each start, and remove it at each stop' },
  {
    name: 'restart-policy',
    kind: 'string',
    value: 'policy',
    help: "Restart= of the unit (default on-failure, or as the container's own policy)",
  },
  {
    name: 'time',
    short: 't',
    kind: 'string',
    value: 'seconds',
    aliases: ['stop-timeout'],
    help: 'How long a stop may take before the container is killed (default 10)',
  },
]

export const LOGS_FLAGS: readonly Flag[] = [
  { name: 'follow', short: 'f', kind: 'bool', help: 'Go on until the container has ended' },
  HELP_FLAG,
  LATEST,
  { name: 'since', kind: 'string', value: 'time', help: 'Only what was written since: RFC 3339, seconds, or 10m ago' },
  {
    name: 'tail',
    short: 'n',
    kind: 'string',
    value: 'lines',
    help: "Only so many lines from the end (default 'all')",
  },
  { name: 'timestamps', short: 't', kind: 'bool', help: 'Print the time of each line' },
  { name: 'until', kind: 'string', value: 'time', help: 'Only what was written until' },
]

export const EVENTS_FLAGS: readonly Flag[] = [
  {
    name: 'filter',
    short: 'f',
    kind: 'list',
    value: 'key=value',
    help: 'Only events that match: container, event, image, label, type, volume, network',
  },
  { name: 'format', kind: 'string', value: 'format', help: "'json' or a Go template, a line for each event" },
  HELP_FLAG,
  { name: 'since', kind: 'string', value: 'time', help: 'Also what has happened since: RFC 3339, seconds, or 10m ago' },
  { name: 'stream', kind: 'bool', help: 'Go on with what happens from now on (default true)' },
  { name: 'until', kind: 'string', value: 'time', help: 'Only what happens until then' },
]

/** Of `run`'s limits those that a cgroup keeps, and which can therefore be changed. */
const CHANGEABLE =
  /^(blkio-weight|cgroup-conf|cpu-(period|quota|shares)|cpus|cpuset-(cpus|mems)|device-(read|write)-(bps|iops)|memory(-.*)?|pids-limit|restart)$/

export const UPDATE_FLAGS: readonly Flag[] = [
  HELP_FLAG,
  LATEST,
  ...RUN_FLAGS.filter(({ name }) => CHANGEABLE.test(name)).map((flag) => {
    const { group: _group, ...rest } = flag
    return rest.name === 'restart' ? { ...rest, help: rest.help.replace(' a detached container', '') } : rest
  }),
]

export const STATS_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Show containers that do not run, too' },
  { name: 'format', kind: 'string', value: 'format', help: "'json', a Go template, or 'table TEMPLATE'" },
  HELP_FLAG,
  { name: 'interval', short: 'i', kind: 'string', value: 'seconds', help: 'Time between two samples (default 1)' },
  { name: 'no-reset', kind: 'bool', help: 'Print each sample behind the one before, also on a terminal' },
  { name: 'no-stream', kind: 'bool', help: 'Print one sample and end' },
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten ids' },
]
