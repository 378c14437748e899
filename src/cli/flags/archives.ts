import { CHANGE } from './files.ts'
import { type Flag, HELP_FLAG } from './flag.ts'
import { MAX_UNPACK_SIZE } from './registry.ts'

const INPUT: Flag = {
  name: 'input',
  short: 'i',
  kind: 'string',
  value: 'path',
  help: 'Read this file or directory instead of standard input',
}
const PLATFORM: Flag = { name: 'platform', kind: 'string', value: 'os/arch', help: 'Take the image for this platform' }
const QUIET: Flag = { name: 'quiet', short: 'q', kind: 'bool', help: 'Print no progress' }

export const SAVE_FLAGS: readonly Flag[] = [
  {
    name: 'format',
    kind: 'string',
    value: 'format',
    help: 'docker-archive (default), oci-archive, oci-dir or docker-dir',
  },
  HELP_FLAG,
  { name: 'multi-image-archive', short: 'm', kind: 'bool', help: 'Taken as given: several images are always possible' },
  { name: 'output', short: 'o', kind: 'string', value: 'path', help: 'Write to a file, or to this directory' },
  QUIET,
]

export const LOAD_FLAGS: readonly Flag[] = [HELP_FLAG, INPUT, MAX_UNPACK_SIZE, PLATFORM, QUIET]

export const IMPORT_FLAGS: readonly Flag[] = [
  CHANGE,
  HELP_FLAG,
  MAX_UNPACK_SIZE,
  { name: 'message', short: 'm', kind: 'string', value: 'text', help: 'A comment in the history of the image' },
  { name: 'platform', kind: 'string', value: 'os/arch', help: 'What the files are made for (default this machine)' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Print nothing but the id' },
]

export const HISTORY_FLAGS: readonly Flag[] = [
  { name: 'format', kind: 'string', value: 'format', help: "'json', a Go template, or 'table TEMPLATE'" },
  HELP_FLAG,
  { name: 'human', short: 'H', kind: 'bool', help: 'Print sizes and dates for people (default true)' },
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten output' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print image ids' },
]
