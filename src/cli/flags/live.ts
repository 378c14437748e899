import { type Flag, HELP_FLAG } from './flag.ts'

const TIME: Flag = {
  name: 'time',
  short: 't',
  kind: 'string',
  value: 'seconds',
  aliases: ['timeout'],
  help: 'How long it may take before the container is killed (default 10)',
}

const SIGNAL: Flag = { name: 'signal', short: 's', kind: 'string', value: 'signal', help: 'Signal to send' }

export const STOP_FLAGS: readonly Flag[] = [HELP_FLAG, SIGNAL, TIME]
export const KILL_FLAGS: readonly Flag[] = [HELP_FLAG, SIGNAL]
export const PLAIN_FLAGS: readonly Flag[] = [HELP_FLAG]

const DETACH_KEYS: Flag = {
  name: 'detach-keys',
  kind: 'string',
  value: 'keys',
  help: "Keys that end the connection and leave the container running; '' for none (default ctrl-p,ctrl-q)",
}

export const START_FLAGS: readonly Flag[] = [
  { name: 'attach', short: 'a', kind: 'bool', help: "Connect with the container's output, and end as it ends" },
  DETACH_KEYS,
  HELP_FLAG,
  { name: 'interactive', short: 'i', kind: 'bool', help: 'Connect standard input, too' },
]

export const ATTACH_FLAGS: readonly Flag[] = [
  DETACH_KEYS,
  HELP_FLAG,
  { name: 'no-stdin', kind: 'bool', help: 'Do not connect standard input' },
  { name: 'sig-proxy', kind: 'bool', help: 'Hand signals on to the container (default true)' },
]

export const LOGS_FLAGS: readonly Flag[] = [
  { name: 'follow', short: 'f', kind: 'bool', help: 'Go on until the container has ended' },
  HELP_FLAG,
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
