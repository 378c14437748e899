import { type Flag, HELP_FLAG } from './flag.ts'

const FORMAT_JSON: Flag = { name: 'format', kind: 'string', value: 'json', help: "'json': a JSON array" }

export const IMAGE_VERIFY_FLAGS: readonly Flag[] = [
  { name: 'deep', kind: 'bool', help: 'Compare every file of every layer with what its blob says' },
  FORMAT_JSON,
  HELP_FLAG,
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Print only what is wrong' },
]

export const IMAGE_MOUNT_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Mount all images' },
  FORMAT_JSON,
  HELP_FLAG,
]

export const IMAGE_UNMOUNT_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Take off all images that are mounted' },
  { name: 'force', short: 'f', kind: 'bool', help: 'Also where a process works in it' },
  HELP_FLAG,
]
