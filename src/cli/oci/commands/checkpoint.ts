import { TscrunError } from '../../../model/errors.ts'
import type { Flag } from '../../flags/flag.ts'
import type { RuntimeCommand } from '../command.ts'

const PATHS = ['image-path', 'work-path', 'parent-path', 'page-server', 'status-fd', 'manage-cgroups-mode', 'empty-ns']
const SWITCHES = [
  'leave-running',
  'tcp-established',
  'tcp-skip-in-flight',
  'link-remap',
  'ext-unix-sk',
  'shell-job',
  'file-locks',
  'pre-dump',
  'lazy-pages',
  'auto-dedup',
]
const RESTORE = ['bundle', 'pid-file', 'console-socket', 'preserve-fds', 'lsm-profile', 'lsm-mount-context']

const accepted = (name: string, kind: Flag['kind']): Flag => ({ name, kind, help: 'Accepted; not supported' })
const COMMON = [...PATHS.map((name) => accepted(name, 'string')), ...SWITCHES.map((name) => accepted(name, 'bool'))]

/** Callers ask whether there is one, and go on without. */
export const checkpoint: RuntimeCommand = {
  name: 'checkpoint',
  usage: 'ID',
  description: 'Not supported',
  flags: COMMON,
  operands: { min: 0, max: Number.POSITIVE_INFINITY },
  run: () => Promise.reject(unsupported('checkpoint')),
}

export const restore: RuntimeCommand = {
  name: 'restore',
  usage: 'ID',
  description: 'Not supported',
  flags: [
    ...COMMON,
    ...RESTORE.map((name) => accepted(name, 'string')),
    ...['detach', 'no-pivot', 'no-subreaper'].map((name) => accepted(name, 'bool')),
  ],
  operands: { min: 0, max: Number.POSITIVE_INFINITY },
  run: () => Promise.reject(unsupported('restore')),
}

function unsupported(verb: string): TscrunError {
  return new TscrunError('HOST_UNSUPPORTED', `${verb}: not supported by this runtime`, { subject: verb })
}
