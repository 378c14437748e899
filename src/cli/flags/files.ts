import { type Flag, HELP_FLAG } from './flag.ts'

export const DIFF_FLAGS: readonly Flag[] = [
  { name: 'format', kind: 'string', value: 'format', help: "'json', a Go template, or 'table TEMPLATE'" },
  HELP_FLAG,
]

export const EXPORT_FLAGS: readonly Flag[] = [
  HELP_FLAG,
  { name: 'output', short: 'o', kind: 'string', value: 'file', help: 'Write to a file instead of standard output' },
]

export const CHANGE: Flag = {
  name: 'change',
  short: 'c',
  kind: 'list',
  value: 'instruction',
  help: 'Apply an instruction of a Dockerfile to the image: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ...',
}

export const COMMIT_FLAGS: readonly Flag[] = [
  { name: 'author', short: 'a', kind: 'string', value: 'name', help: 'Who made the image' },
  CHANGE,
  HELP_FLAG,
  { name: 'iidfile', kind: 'string', value: 'file', help: "Write the image's id to a file" },
  { name: 'message', short: 'm', kind: 'string', value: 'text', help: 'A comment in the history of the image' },
  { name: 'pause', short: 'p', kind: 'bool', help: 'Freeze the container meanwhile (default true)' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Print no warnings' },
  { name: 'squash', short: 's', kind: 'bool', help: 'Put all files into one layer' },
]

export const CP_FLAGS: readonly Flag[] = [
  {
    name: 'archive',
    short: 'a',
    kind: 'bool',
    help: 'Keep owners by number, set-id bits, attributes, device nodes',
  },
  { name: 'follow-link', short: 'L', kind: 'bool', help: 'Copy what a link given as SRC leads to' },
  HELP_FLAG,
  { name: 'overwrite', kind: 'bool', help: 'A directory may take the place of a file, and a file that of a directory' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Print no warnings' },
]
