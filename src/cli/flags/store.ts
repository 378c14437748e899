import { ALL, CIDFILE, IGNORE, LATEST } from './choice.ts'
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
  {
    name: 'filter',
    short: 'f',
    kind: 'list',
    value: 'key=value',
    help: 'Only what matches: dangling, reference, label, label!, id, before, since, until',
  },
  FORMAT,
  HELP_FLAG,
  { name: 'noheading', short: 'n', kind: 'bool', help: 'Leave the headings out' },
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten ids' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print image ids' },
  {
    name: 'sort',
    kind: 'string',
    value: 'field',
    help: 'created, id, repository, size or tag (default created)',
  },
]

export const RMI_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Remove all images' },
  {
    name: 'force',
    short: 'f',
    kind: 'bool',
    help: 'Remove the names also of an image that containers use or that has several',
  },
  HELP_FLAG,
  { ...IGNORE, help: 'An image that is not there is no error' },
]

export const PS_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Show all containers (default only running ones)' },
  {
    name: 'filter',
    short: 'f',
    kind: 'list',
    value: 'key=value',
    help: 'Only those that match: id, name, label, status, ancestor, before, since, exited, health, volume, network',
  },
  FORMAT,
  HELP_FLAG,
  { name: 'last', short: 'n', kind: 'string', value: 'number', help: 'The containers that were made last' },
  { ...LATEST, help: 'The container that was made last' },
  { name: 'noheading', kind: 'bool', help: 'Leave the headings out' },
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten output' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print container ids' },
  { name: 'size', short: 's', kind: 'bool', help: 'Show what each has written, and what it has in all' },
  {
    name: 'sort',
    kind: 'string',
    value: 'field',
    help: 'created, runningfor, id, image, names, command, status or size (default created)',
  },
]

export const RM_FLAGS: readonly Flag[] = [
  ALL,
  CIDFILE,
  { name: 'filter', kind: 'list', value: 'key=value', help: 'All containers that match, as in ps' },
  { name: 'force', short: 'f', kind: 'bool', help: 'Kill the container first if it is running' },
  HELP_FLAG,
  IGNORE,
  LATEST,
  {
    name: 'time',
    short: 't',
    kind: 'string',
    value: 'seconds',
    help: 'With --force: how long it may take to stop before it is killed (default 0)',
  },
  { name: 'volumes', short: 'v', kind: 'bool', help: 'Remove its anonymous volumes too' },
]

export const INSPECT_FLAGS: readonly Flag[] = [
  { ...FORMAT, short: 'f', help: "'json' or a Go template" },
  HELP_FLAG,
  LATEST,
  { name: 'size', short: 's', kind: 'bool', help: 'Also what a container has written' },
  { name: 'type', kind: 'string', value: 'type', help: 'container, image or volume' },
]

export const REPORT_FLAGS: readonly Flag[] = [{ ...FORMAT, short: 'f', help: "'json' or a Go template" }, HELP_FLAG]
