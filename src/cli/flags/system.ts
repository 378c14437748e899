import { type Flag, HELP_FLAG } from './flag.ts'
import { FORMAT } from './store.ts'

const FORCE: Flag = { name: 'force', short: 'f', kind: 'bool', help: 'Do not ask' }
const FILTER: Flag = {
  name: 'filter',
  kind: 'list',
  value: 'key=value',
  help: 'Only what matches: until=TIME, label, label!',
}

export const SYSTEM_DF_FLAGS: readonly Flag[] = [
  FORMAT,
  HELP_FLAG,
  { name: 'verbose', short: 'v', kind: 'bool', help: 'Each image, container and volume' },
]

export const IMAGE_PRUNE_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Remove those with a name, too' },
  FILTER,
  FORCE,
  HELP_FLAG,
]

export const CONTAINER_PRUNE_FLAGS: readonly Flag[] = [FILTER, FORCE, HELP_FLAG]

export const SYSTEM_PRUNE_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Remove images with a name, too' },
  FILTER,
  FORCE,
  HELP_FLAG,
  { name: 'volumes', kind: 'bool', help: 'Remove anonymous volumes, too' },
]

export const SYSTEM_RESET_FLAGS: readonly Flag[] = [
  { ...FORCE, help: 'Do not ask; containers that run are killed' },
  HELP_FLAG,
]

export const SYSTEM_CHECK_FLAGS: readonly Flag[] = [
  { ...FORCE, help: 'With --repair: also remove containers whose record is lost, with what they have written' },
  { name: 'format', kind: 'string', value: 'json', help: "'json': a JSON array" },
  HELP_FLAG,
  { name: 'quick', short: 'q', kind: 'bool', help: 'Do not read the layers of images, nor their blobs' },
  { name: 'repair', short: 'r', kind: 'bool', help: 'Put right what can be put right' },
]
