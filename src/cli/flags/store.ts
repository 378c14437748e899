import { type Flag, HELP_FLAG } from './flag.ts'

export const FORMAT = {
  name: 'format',
  kind: 'string',
  value: 'format',
  help: "'json', a Go template, or 'table TEMPLATE'",
} as const satisfies Flag

export const IMAGES_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Show images without a name too' },
  { name: 'digests', kind: 'bool', help: 'Show digests' },
  FORMAT,
  HELP_FLAG,
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten ids' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print image ids' },
]

export const RMI_FLAGS: readonly Flag[] = [
  {
    name: 'force',
    short: 'f',
    kind: 'bool',
    help: 'Remove the names also of an image that containers use or that has several',
  },
  HELP_FLAG,
]

export const PS_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Show all containers (default only running ones)' },
  {
    name: 'filter',
    short: 'f',
    kind: 'list',
    value: 'key=value',
    help: 'Only containers that match: id, name, label, status, ancestor, exited, health, volume',
  },
  FORMAT,
  HELP_FLAG,
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten output' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print container ids' },
]

export const RM_FLAGS: readonly Flag[] = [
  { name: 'force', short: 'f', kind: 'bool', help: 'Kill the container first if it is running' },
  HELP_FLAG,
  { name: 'volumes', short: 'v', kind: 'bool', help: 'Remove its anonymous volumes too' },
]

export const INSPECT_FLAGS: readonly Flag[] = [
  { ...FORMAT, short: 'f', help: "'json' or a Go template" },
  HELP_FLAG,
  { name: 'type', kind: 'string', value: 'type', help: 'container, image or volume' },
]

export const REPORT_FLAGS: readonly Flag[] = [{ ...FORMAT, short: 'f', help: "'json' or a Go template" }, HELP_FLAG]
