import type { OciConfig, OciDevice } from '../model/config.ts'
import { FSCONFIG, makeDevice, MOUNT_ATTR, S_IFBLK, S_IFCHR, S_IFIFO } from '../model/linux.ts'
import type { Step } from '../model/step.ts'

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

/**
 * A complete /dev as the mount `fd:dev`, built on the host's side: inside a user namespace mknod(2) is refused, and a
 * device works only on a filesystem that the first user namespace mounted.
 */
export function devSteps(config: OciConfig, options: readonly string[], owner: DevOwner): Step[] {
  const { rootUid, rootGid } = owner
  const size = options.find((option) => option.startsWith('size='))?.slice('size='.length) ?? '65536k'
  const set = (key: string, value: string): Step => ({
    op: 'fsconfig',
    fs: 'fd:devfs',
    command: FSCONFIG.SET_STRING,
    key,
    value,
  })
  const steps: Step[] = [
    { op: 'fsopen', fs: 'fd:devfs', type: 'tmpfs' },
    set('source', 'tmpfs'),
    set('mode', '755'),
    set('size', size),
    set('uid', String(rootUid)),
    set('gid', String(rootGid)),
    {
      op: 'fsconfig',
      fs: 'fd:devfs',
      command: FSCONFIG.CMD_CREATE,
      key: '',
      value: '',
      about: 'make the filesystem for /dev',
    },
    { op: 'fsmount', mount: 'fd:dev', fs: 'fd:devfs', attributes: MOUNT_ATTR.NOSUID | MOUNT_ATTR.STRICTATIME },
  ]
  const chown = (path: string, uid: number, gid: number): void => {
    if (uid !== 0 || gid !== 0) steps.push({ op: 'chown', dir: 'fd:dev', path, uid, gid })
  }
  for (const name of ['pts', 'shm', 'mqueue', EMPTY_DIRECTORY]) {
    steps.push({ op: 'mkdir', dir: 'fd:dev', path: name, mode: 0o755 })
    chown(name, rootUid, rootGid)
  }
  const extra = config.linux?.devices ?? []
  const replaced = new Set(extra.map((device) => device.path))
  for (const device of [...DEFAULT_DEVICES.filter((device) => !replaced.has(device.path)), ...extra]) {
    if (!device.path.startsWith('/dev/')) continue
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
      chown(parent, rootUid, rootGid)
    }
    const number = device.type === 'p' ? 0n : makeDevice(device.major ?? 0, device.minor ?? 0)
    steps.push({
      op: 'mknod',
      dir: 'fd:dev',
      path,
      mode: TYPES[device.type] | (device.fileMode ?? 0o666),
      device: number,
    })
    chown(path, owner.hostUid(device.uid ?? 0), owner.hostGid(device.gid ?? 0))
  }
  for (const [target, path] of LINKS) {
    steps.push({ op: 'symlink', target, dir: 'fd:dev', path })
    chown(path, rootUid, rootGid)
  }
  if (config.process?.terminal === true) {
    steps.push({ op: 'create_file', dir: 'fd:dev', path: 'console', mode: 0o600, bytes: '' })
    chown('console', rootUid, rootGid)
  }
  return steps
}

/** `a/b/c` -> `a`, `a/b`. */
function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}
