import { type Flag, HELP_FLAG } from './flag.ts'
import { FORMAT } from './store.ts'

export const VOLUME_CREATE_FLAGS: readonly Flag[] = [
  { name: 'driver', short: 'd', kind: 'string', value: 'driver', help: 'local, the only one' },
  HELP_FLAG,
  { name: 'ignore', kind: 'bool', help: 'One of this name that is there already is no error' },
  { name: 'label', short: 'l', kind: 'list', value: 'key=value', help: 'Set a label' },
  {
    name: 'opt',
    short: 'o',
    kind: 'list',
    value: 'key=value',
    help: 'type=tmpfs with o=size=64m..., or type=none, o=bind, device=DIR',
  },
]

const FILTER = {
  name: 'filter',
  kind: 'list',
  value: 'key=value',
  help: 'Only volumes that match: name, label, label!, dangling, anonymous, driver, until',
} as const satisfies Flag

export const VOLUME_LS_FLAGS: readonly Flag[] = [
  { ...FILTER, short: 'f' },
  FORMAT,
  HELP_FLAG,
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print names' },
]

export const VOLUME_RM_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Remove all volumes that no container has' },
  { name: 'force', short: 'f', kind: 'bool', help: 'One that is not there is no error' },
  HELP_FLAG,
]

export const VOLUME_PRUNE_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Remove those with a name, too' },
  FILTER,
  { name: 'force', short: 'f', kind: 'bool', help: 'Do not ask' },
  HELP_FLAG,
]
