import { LATEST } from './choice.ts'
import { type Flag, HELP_FLAG } from './flag.ts'

export const EXEC_FLAGS: readonly Flag[] = [
  { name: 'detach', short: 'd', kind: 'bool', help: 'Do not wait for the command; it has no streams' },
  {
    name: 'env',
    short: 'e',
    kind: 'list',
    value: 'name[=value]',
    help: "Set an environment variable; without a value take the caller's",
  },
  { name: 'env-file', kind: 'list', value: 'file', help: 'Read environment variables from a file' },
  HELP_FLAG,
  { name: 'interactive', short: 'i', kind: 'bool', help: "Hand the caller's standard input to the command" },
  LATEST,
  { name: 'privileged', kind: 'bool', help: 'All capabilities, no seccomp filter' },
  { name: 'tty', short: 't', kind: 'bool', help: 'Give the command a terminal' },
  { name: 'user', short: 'u', kind: 'string', value: 'user[:group]', help: 'Run as this user, by name or number' },
  { name: 'workdir', short: 'w', kind: 'string', value: 'dir', help: 'Working directory in the container' },
]
