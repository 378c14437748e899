import { signalNumber } from '../../model/kernel-names.ts'
import { CAPABILITIES } from '../../security/capabilities.ts'
import { RLIMITS } from '../../security/rlimits.ts'

/** What stands for a word of a command line. */
export type Kind =
  | 'container'
  | 'image'
  | 'volume'
  | 'network'
  /** An image, a container or a volume. */
  | 'anything'
  /** A file of the caller's, which the shell knows best. */
  | 'file'
  | 'directory'
  /** A container and a path in it, or a file of the caller's. */
  | 'container-path'
  /** Nothing that could be guessed. */
  | 'none'
  | readonly string[]

/** What the operands of a command are: of the first, the second, and so on; the last stands for all that follow. */
export const OPERANDS: Readonly<Record<string, readonly Kind[]>> = {
  run: ['image', 'none'],
  create: ['image', 'none'],
  exec: ['container', 'none'],
  inspect: ['anything'],
  generate: [['systemd', 'quadlet'], 'container', 'none'],
  completion: [['bash', 'zsh', 'fish'], 'none'],
  start: ['container'],
  stop: ['container'],
  restart: ['container'],
  kill: ['container'],
  wait: ['container'],
  logs: ['container', 'none'],
  attach: ['container', 'none'],
  pause: ['container'],
  unpause: ['container'],
  top: ['container', 'none'],
  stats: ['container'],
  update: ['container'],
  port: ['container', 'none'],
  cp: ['container-path', 'container-path', 'none'],
  commit: ['container', 'image', 'none'],
  diff: ['container', 'none'],
  export: ['container', 'none'],
  rename: ['container', 'none'],
  rm: ['container'],
  rmi: ['image'],
  pull: ['image'],
  push: ['image', 'none'],
  save: ['image'],
  tag: ['image', 'none'],
  history: ['image', 'none'],
  copy: ['image', 'none'],
  load: ['file'],
  import: ['file', 'none'],
  'manifest inspect': ['image', 'none'],
  'image exists': ['image', 'none'],
  'image mount': ['image'],
  'image tree': ['image', 'none'],
  'image unmount': ['image'],
  'image verify': ['image'],
  'network connect': ['network', 'container', 'none'],
  'network disconnect': ['network', 'container', 'none'],
  'network exists': ['network', 'none'],
  'network inspect': ['network'],
  'network rm': ['network'],
  healthcheck: [['run'], 'container', 'none'],
  'volume rm': ['volume'],
  'volume exists': ['volume', 'none'],
}

const NAMESPACE = ['private', 'host', 'container:', 'ns:'] as const
const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'STOP', 'CONT', 'WINCH']
  .map((name) => `SIG${name}`)
  .filter((name) => signalNumber(name) !== undefined)
const CAPABILITY_NAMES = ['ALL', ...CAPABILITIES.map((name) => name.slice('CAP_'.length))]

/** What the value of a flag is, by its long name. A word that ends with `:` or `=` goes on behind that. */
export const FLAG_VALUES: Readonly<Record<string, Kind>> = {
  annotation: 'none',
  'cap-add': CAPABILITY_NAMES,
  'cap-drop': CAPABILITY_NAMES,
  cgroupns: NAMESPACE,
  cidfile: 'file',
  device: 'file',
  'health-on-failure': ['none', 'kill', 'restart', 'stop'],
  'env-file': 'file',
  input: 'file',
  ipc: NAMESPACE,
  'label-file': 'file',
  'log-driver': ['k8s-file', 'json-file', 'none', 'passthrough'],
  'log-level': ['error', 'warn', 'debug'],
  'log-opt': ['max-size=', 'max-file='],
  'monitor-pidfile': 'file',
  mount: ['type=bind,', 'type=tmpfs,', 'type=volume,'],
  network: ['none', 'host', 'container:', 'ns:'],
  output: 'file',
  pid: NAMESPACE,
  platform: ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/386'],
  pull: ['missing', 'always', 'never', 'newer'],
  restart: ['no', 'on-failure', 'always', 'unless-stopped'],
  'restart-policy': ['no', 'always', 'on-success', 'on-failure', 'on-abnormal', 'on-abort', 'on-watchdog'],
  root: 'directory',
  rootfs: 'directory',
  runroot: 'directory',
  'security-opt': ['no-new-privileges', 'seccomp=', 'apparmor=', 'label=', 'mask=', 'unmask='],
  signal: SIGNALS,
  'stop-signal': SIGNALS,
  timens: ['host', 'private', 'boottime=', 'monotonic='],
  type: ['container', 'image', 'volume'],
  ulimit: RLIMITS.map((name) => `${name}=`),
  userns: ['auto', 'host', 'container:', 'ns:'],
  uts: NAMESPACE,
  volume: 'volume',
  'volumes-from': 'container',
}

/** Keys of `--filter`, and the values of some; another command's keys may be more. */
export const FILTERS: Readonly<Record<string, readonly string[]>> = {
  ancestor: [],
  before: [],
  exited: [],
  health: ['starting', 'healthy', 'unhealthy', 'none'],
  id: [],
  label: [],
  'label!': [],
  name: [],
  network: [],
  publish: [],
  'restart-policy': ['no', 'on-failure', 'always', 'unless-stopped'],
  'should-start-on-boot': ['true', 'false'],
  since: [],
  status: ['created', 'running', 'paused', 'restarting', 'exited'],
  until: [],
  volume: [],
}
