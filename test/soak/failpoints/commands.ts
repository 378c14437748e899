/** A command that is killed, and how the store stands before it. */
export interface KilledCommand {
  /** As the page docs/kills.md calls it. */
  readonly name: string
  readonly before: readonly (readonly string[])[]
  readonly args: readonly string[]
  /** What is said where nothing of it was done, and where all was. */
  readonly from: string
  readonly to: string
  /** What a kill on the way may leave besides these two. */
  readonly between?: readonly string[]
  /** What it starts is followed to its end; otherwise only as long as the command lives. */
  readonly follow?: boolean
  /** Besides the container: volumes or images tell what has come of it. */
  readonly asks?: 'volume' | 'image'
  /** Nothing is prepared: it is a first time. */
  readonly first?: boolean
}

/** Nobody else's name: what is left of it is looked for among all processes. */
export const VICTIM = `victim-${process.pid}`
export const IMAGE = 'localhost/base:1'
export const OTHER = `other-${process.pid}`
/** A volume that takes what the image has there, and an anonymous one. */
const VOLUMES = ['-v', 'named:/etc', '-v', '/anonymous'] as const
const NAMED = ['--name', VICTIM] as const
const STAYS = [IMAGE, 'sleep', '19318'] as const
const ENDS = [IMAGE, 'true'] as const

const created = ['create', ...NAMED, ...VOLUMES, ...STAYS]
const running = ['run', '-d', ...NAMED, ...VOLUMES, ...STAYS]
const ended = ['run', ...NAMED, ...VOLUMES, ...ENDS]

export const COMMANDS: readonly KilledCommand[] = [
  { name: 'create', before: [], args: created, from: 'none', to: 'created' },
  { name: 'run -d', before: [], args: running, from: 'none', to: 'running', between: ['exited'] },
  {
    name: 'run -d, to its end',
    before: [],
    args: ['run', '-d', ...NAMED, ...VOLUMES, ...ENDS],
    follow: true,
    from: 'none',
    to: 'exited',
  },
  {
    name: 'run -d --rm, to its end',
    before: [],
    args: ['run', '-d', '--rm', ...NAMED, ...VOLUMES, ...ENDS],
    follow: true,
    from: 'none',
    to: 'none',
  },
  {
    name: 'run -d --restart on-failure:1, to its end',
    before: [],
    args: ['run', '-d', '--restart', 'on-failure:1', ...NAMED, IMAGE, 'false'],
    follow: true,
    from: 'none',
    to: 'exited',
  },
  {
    name: 'run -d --rm --network bridge -p, to its end',
    before: [],
    args: ['run', '-d', '--rm', ...NAMED, '--network', 'bridge', '-p', '8317:80', ...ENDS],
    follow: true,
    from: 'none',
    to: 'none',
  },
  // Long enough for others to find who runs, on a busy machine, too.
  {
    name: 'run',
    before: [],
    args: ['run', ...NAMED, ...VOLUMES, IMAGE, 'sleep', '1'],
    follow: true,
    from: 'none',
    to: 'exited',
  },
  {
    name: 'run --rm',
    before: [],
    args: ['run', '--rm', ...NAMED, ...VOLUMES, ...ENDS],
    follow: true,
    from: 'none',
    to: 'none',
  },
  {
    name: 'run --rm, that is kept for the next time',
    before: [],
    args: ['run', '--rm', ...ENDS],
    follow: true,
    first: true,
    from: 'none',
    to: 'none',
  },
  {
    name: 'run --rm, prepared',
    // What has changed a moment ago is not taken for settled: the second or third one prepares it.
    before: [1, 2, 3].map(() => ['run', '--rm', ...ENDS]),
    args: ['run', '--rm', ...ENDS],
    follow: true,
    from: 'none',
    to: 'none',
  },
  { name: 'start', before: [created], args: ['start', VICTIM], from: 'created', to: 'running', between: ['exited'] },
  {
    name: 'start, of one with --rm and -t',
    before: [['create', '--rm', '-t', ...NAMED, ...VOLUMES, ...STAYS]],
    args: ['start', VICTIM],
    from: 'created',
    to: 'running',
    between: ['none'],
  },
  {
    name: 'restart',
    before: [running],
    args: ['restart', '-t', '0', VICTIM],
    from: 'running',
    to: 'running',
    between: ['exited'],
  },
  { name: 'stop', before: [running], args: ['stop', '-t', '0', VICTIM], from: 'running', to: 'exited' },
  // Which always sends it itself; of a stop it depends on whether the monitor has been faster.
  {
    name: 'kill --signal',
    before: [running],
    args: ['kill', '--signal', 'HUP', VICTIM],
    from: 'running',
    to: 'running',
  },
  { name: 'pause', before: [running], args: ['pause', VICTIM], from: 'running', to: 'paused' },
  { name: 'exec', before: [running], args: ['exec', VICTIM, 'true'], from: 'running', to: 'running' },
  {
    name: 'exec -d',
    before: [running],
    args: ['exec', '-d', VICTIM, 'sleep', '19318'],
    from: 'running',
    to: 'running',
  },
  { name: 'rename', before: [running], args: ['rename', VICTIM, OTHER], from: 'running', to: 'running' },
  {
    name: 'update',
    before: [running],
    args: ['update', '--restart', 'on-failure', VICTIM],
    from: 'running',
    to: 'running',
  },
  {
    name: 'commit',
    before: [running],
    args: ['commit', '-q', '-s', VICTIM, 'localhost/made:1'],
    asks: 'image',
    from: 'running, no image',
    to: 'running, an image',
    between: ['paused, no image'],
  },
  {
    name: 'rmi',
    before: [running, ['commit', '-q', '-s', VICTIM, 'localhost/made:1']],
    args: ['rmi', 'localhost/made:1'],
    asks: 'image',
    from: 'running, an image',
    to: 'running, no image',
  },
  { name: 'rm', before: [ended], args: ['rm', '-v', VICTIM], from: 'exited', to: 'none' },
  {
    name: 'rm -f',
    before: [running],
    args: ['rm', '-f', '-v', VICTIM],
    from: 'running',
    to: 'none',
    between: ['exited'],
  },
  {
    name: 'rm -f, of one with a network',
    before: [['run', '-d', ...NAMED, '--network', 'bridge', '-p', '8317:80', ...STAYS]],
    args: ['rm', '-f', VICTIM],
    from: 'running',
    to: 'none',
    between: ['exited'],
  },
  {
    name: 'volume create',
    before: [],
    args: ['volume', 'create', 'named'],
    asks: 'volume',
    from: 'none, no volume',
    to: 'none, a volume',
  },
  {
    name: 'volume rm',
    before: [['volume', 'create', 'named']],
    args: ['volume', 'rm', 'named'],
    asks: 'volume',
    from: 'none, a volume',
    to: 'none, no volume',
  },
]
