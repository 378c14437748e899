import type { OciConfig, OciDevice } from '../model/config.ts'
import { FSCONFIG, makeDevice, MOUNT_ATTR, S_IFBLK, S_IFCHR, S_IFIFO } from '../model/linux.ts'
import { TARGET, type FdSlot, type Step } from '../model/step.ts'
import { parseMountOptions } from './mount-options.ts'

/** Devices every container has (runtime-spec config-linux.md, Default Devices). */
const DEFAULT_DEVICES: readonly OciDevice[] = [
  { type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o666 },
  { type: 'c', path: '/dev/zero', major: 1, minor: 5, fileMode: 0o666 },
  { type: 'c', path: '/dev/full', major: 1, minor: 7, fileMode: 0o666 },
  { type: 'c', path: '/dev/random', major: 1, minor: 8, fileMode: 0o666 },
  { type: 'c', path: '/dev/urandom', major: 1, minor: 9, fileMode: 0o666 },
  { type: 'c', path: '/dev/tty', major: 5, minor: 0, fileMode: 0o666 },
]

const LINKS = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
] as const

const TYPES = { c: S_IFCHR, u: S_IFCHR, b: S_IFBLK, p: S_IFIFO } as const

/** Name of an empty directory in the new /dev that covers masked directories until it is removed. */
export const EMPTY_DIRECTORY = '.masked'

export interface DevOwner {
  readonly rootUid: number
  readonly rootGid: number
  /** Host id of a container's id. */
  readonly hostUid: (uid: number) => number
  readonly hostGid: (gid: number) => number
}

export interface DevContext extends DevOwner {
  readonly ownUser: boolean
  /** config.json is a caller's. */
  readonly literal: boolean
  /** Where the child keeps a filesystem at hand below the root; undefined where it would be in the host's way. */
  readonly attachAt: string | undefined
}

/** What each side does for /dev, in the order of the recipe. */
export interface DevSteps {
  /** Destination and slot of a /dev that is made here, not by the mounts. */
  readonly prepared: ReadonlyMap<string, FdSlot>
  /** Where the null device and an empty directory are found that cover what is masked. */
  readonly covers: FdSlot
  /** Stage, before the root is made; the child, before it is attached. */
  readonly first: readonly Step[]
  readonly receiveFirst: readonly Step[]
  /** Stage, with the root; the child, when it has the root. */
  readonly make: readonly Step[]
  readonly receive: readonly Step[]
  /** Child, when all is mounted: devices that are not in a /dev made here. */
  readonly place: readonly Step[]
  /** Child, when all is protected. */
  readonly finish: readonly Step[]
}

/**
 * /dev: a filesystem in memory where the config mounts one, else what the config or the root filesystem has there, with
 * the devices put into it; nothing is put into one that is bound from elsewhere, as runc has it.
 */
export function devSteps(config: OciConfig, context: DevContext): DevSteps {
  const mount = config.mounts?.findLast(({ destination }) => destination === '/dev')
  const options = mount?.options ?? []
  if (mount?.type === 'tmpfs' && !options.includes('bind') && !options.includes('rbind'))
    return madeDev(config, options, context)
  const bound = mount !== undefined && (mount.type === 'bind' || options.includes('bind') || options.includes('rbind'))
  const nodes = bound ? [] : [...nodeSteps(config, context, 'literal'), ...linkSteps(context, 'literal')]
  const { covers, receive } = coverSteps(config, context)
  // In a user namespace of its own the child may not make devices, the stage may where nothing is mounted over them.
  const byStage = mount === undefined && context.ownUser
  const open = openDev()
  const needed = nodes.length > 0 || config.process?.terminal === true
  return {
    prepared: new Map(),
    covers: 'fd:covers',
    first: covers,
    receiveFirst: receive,
    make: byStage ? [...open, ...nodes, ...elsewhere(config, context)] : [],
    receive: [],
    place: [...(needed ? open : []), ...(byStage ? [] : [...nodes, ...elsewhere(config, context)])],
    finish: [],
  }
}

function openDev(): Step[] {
  return [
    {
      op: 'target',
      fd: 'fd:dev',
      root: 'fd:rootfs',
      path: '/dev',
      kind: TARGET.plainDirectory,
      mode: 0o755,
      like: 'none',
      about: 'prepare /dev',
      hint: '/dev of this image is not a plain directory',
    },
  ]
}

/**
 * A complete /dev as the mount `fd:dev`, built on the host's side: inside a user namespace mknod(2) is refused, and a
 * device works only on a filesystem that the first user namespace mounted.
 */
function madeDev(config: OciConfig, options: readonly string[], context: DevContext): DevSteps {
  const parsed = parseMountOptions(options)
  const attributes = context.literal ? parsed.set & ~MOUNT_ATTR.RDONLY : MOUNT_ATTR.NOSUID | MOUNT_ATTR.STRICTATIME
  const make: Step[] = [
    { op: 'fsopen', fs: 'fd:devfs', type: 'tmpfs' },
    ...[...fsOptions(parsed.data, context)].map(
      ([key, value]): Step => ({ op: 'fsconfig', fs: 'fd:devfs', command: FSCONFIG.SET_STRING, key, value }),
    ),
    {
      op: 'fsconfig',
      fs: 'fd:devfs',
      command: FSCONFIG.CMD_CREATE,
      key: '',
      value: '',
      about: 'make the filesystem for /dev',
    },
    { op: 'fsmount', mount: 'fd:dev', fs: 'fd:devfs', attributes },
  ]
  for (const name of ['pts', 'shm', 'mqueue', EMPTY_DIRECTORY]) {
    make.push({ op: 'mkdir', dir: 'fd:dev', path: name, mode: 0o755 }, ...chown(name, context))
  }
  const into = context.literal ? 'literal' : 'new'
  make.push(...nodeSteps(config, context, into), ...linkSteps(context, into))
  if (config.process?.terminal === true && !context.literal) {
    make.push(
      { op: 'create_file', dir: 'fd:dev', path: 'console', mode: 0o600, bytes: '' },
      ...chown('console', context),
    )
  }
  make.push({ op: 'send_fd', fd: 'fd:dev' })
  const readonly = (parsed.set & MOUNT_ATTR.RDONLY) !== 0
  return {
    prepared: new Map([['/dev', 'fd:dev']]),
    covers: 'fd:dev',
    first: [],
    receiveFirst: [],
    make,
    receive: [{ op: 'recv_fd', fd: 'fd:dev' }],
    place: elsewhere(config, context),
    // The covers keep the directory alive; without a name nothing can be put into it.
    finish: [{ op: 'rmdir', dir: 'fd:dev', path: EMPTY_DIRECTORY }, ...(readonly ? [readonlyDev()] : [])],
  }
}

function readonlyDev(): Step {
  const about = 'make /dev read-only'
  const set = MOUNT_ATTR.RDONLY
  return { op: 'mount_setattr', mount: 'fd:dev', at: 0, set, clear: 0, propagation: 0, userns: 'none', about }
}

/** Of the options of our own /dev only the size counts; a caller's are followed. */
function fsOptions(
  data: readonly (readonly [key: string, value: string | undefined])[],
  { literal, rootUid, rootGid, hostUid, hostGid }: DevContext,
): Map<string, string> {
  const given = new Map(data.map(([key, value]) => [key, value ?? '']))
  const options = new Map([
    ['source', 'tmpfs'],
    ['mode', '755'],
    ['size', given.get('size') ?? '65536k'],
    ['uid', String(rootUid)],
    ['gid', String(rootGid)],
  ])
  if (!literal) return options
  for (const [key, value] of given) {
    if (key === 'uid') options.set(key, String(hostUid(Number(value))))
    else if (key === 'gid') options.set(key, String(hostGid(Number(value))))
    else options.set(key, value)
  }
  return options
}

function chown(path: string, { rootUid, rootGid }: DevOwner): Step[] {
  if (rootUid === 0 && rootGid === 0) return []
  return [{ op: 'chown', dir: 'fd:dev', path, uid: rootUid, gid: rootGid }]
}

/** `new`: into our own filesystem. `literal`: into one that may have the same devices already. */
function nodeSteps(config: OciConfig, context: DevContext, into: 'new' | 'literal'): Step[] {
  const extra = config.linux?.devices ?? []
  const replaced = new Set(extra.map((device) => device.path))
  const all = [...DEFAULT_DEVICES.filter((device) => !replaced.has(device.path)), ...extra]
  const steps: Step[] = []
  for (const device of all) {
    // A link to that of the container's own devpts, whatever a caller lists: a privileged one lists all the host has.
    if (!device.path.startsWith('/dev/') || device.path === '/dev/ptmx') continue
    const path = device.path.slice('/dev/'.length)
    for (const parent of parents(path)) {
      steps.push({
        op: 'mkdir',
        dir: 'fd:dev',
        path: parent,
        mode: 0o755,
        tolerate: ['EEXIST'],
        because: 'another device lies there',
      })
      steps.push(...chown(parent, context))
    }
    steps.push(
      ...(into === 'new' ? newNode(device, path, context) : [nodeIn('fd:dev', device, path, ownerOf(device, context))]),
    )
  }
  return steps
}

function newNode(device: OciDevice, path: string, context: DevContext): Step[] {
  const { uid, gid } = ownerOf(device, context)
  const made: Step = { op: 'mknod', dir: 'fd:dev', path, mode: modeOf(device), device: numberOf(device) }
  return uid === 0 && gid === 0 ? [made] : [made, { op: 'chown', dir: 'fd:dev', path, uid, gid }]
}

function nodeIn(dir: FdSlot, device: OciDevice, path: string, owner: { uid: number; gid: number }): Step {
  return {
    op: 'device',
    dir,
    path,
    mode: modeOf(device),
    device: numberOf(device),
    ...owner,
    about: `make the device ${device.path}`,
    hint: 'something else may have this name in the root filesystem',
  }
}

/** Ids as the one sees them who makes the device: the stage those of the host. */
function ownerOf({ uid, gid }: OciDevice, context: DevContext): { uid: number; gid: number } {
  return {
    uid: uid === undefined ? context.rootUid : context.hostUid(uid),
    gid: gid === undefined ? context.rootGid : context.hostGid(gid),
  }
}

/** Engines send the type along (`8624`). */
function modeOf(device: OciDevice): number {
  return TYPES[device.type] | ((device.fileMode ?? 0o666) & 0o7777)
}

function numberOf(device: OciDevice): bigint {
  return device.type === 'p' ? 0n : makeDevice(device.major ?? 0, device.minor ?? 0)
}

/** Devices that are not below /dev. */
function elsewhere(config: OciConfig, context: DevContext): Step[] {
  const outside = (config.linux?.devices ?? []).filter((device) => !device.path.startsWith('/dev/'))
  return outside.flatMap((device, index): Step[] => {
    const slot: FdSlot = `fd:devdir${index}`
    const slash = device.path.lastIndexOf('/')
    const about = `prepare the directory of the device ${device.path}`
    const path = device.path.slice(0, slash) || '/'
    return [
      { op: 'target', fd: slot, root: 'fd:rootfs', path, kind: TARGET.directory, mode: 0o755, like: 'none', about },
      nodeIn(slot, device, device.path.slice(slash + 1), ownerOf(device, context)),
    ]
  })
}

function linkSteps(context: DevContext, into: 'new' | 'literal'): Step[] {
  const there = { tolerate: ['EEXIST'], because: 'the root filesystem or the config has it' } as const
  return LINKS.flatMap(([target, path]): Step[] => [
    { op: 'symlink', target, dir: 'fd:dev', path, ...(into === 'new' ? {} : there) },
    ...chown(path, context),
  ])
}

/**
 * Without a /dev of our own what covers masked paths has a small filesystem for itself (CVE-2025-31133). Its null device is
 * also the input of a command of the engine's that is given none.
 */
function coverSteps(config: OciConfig, { attachAt, literal }: DevContext): { covers: Step[]; receive: Step[] } {
  if (literal && (config.linux?.maskedPaths ?? []).length === 0) return { covers: [], receive: [] }
  const fs: FdSlot = 'fd:coversfs'
  const about = 'make the covers of masked paths'
  const covers: Step[] = [
    { op: 'fsopen', fs, type: 'tmpfs', about },
    { op: 'fsconfig', fs, command: FSCONFIG.SET_STRING, key: 'size', value: '4k', about },
    { op: 'fsconfig', fs, command: FSCONFIG.SET_STRING, key: 'mode', value: '755', about },
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '', about },
    { op: 'fsmount', mount: 'fd:covers', fs, attributes: MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC, about },
    { op: 'mkdir', dir: 'fd:covers', path: EMPTY_DIRECTORY, mode: 0o755, about },
    { op: 'mknod', dir: 'fd:covers', path: 'null', mode: S_IFCHR | 0o666, device: makeDevice(1, 3), about },
    { op: 'send_fd', fd: 'fd:covers' },
  ]
  const receive: Step[] = [{ op: 'recv_fd', fd: 'fd:covers' }]
  // Before Linux 6.15 only what is attached can be cloned.
  if (attachAt !== undefined) receive.push({ op: 'move_mount', mount: 'fd:covers', dir: 'cwd', path: attachAt, about })
  return { covers, receive }
}

/** `a/b/c` -> `a`, `a/b`. */
function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}
