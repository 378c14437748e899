import type { DeviceOption, TmpfsMount, VolumeMount } from '../../model/run-options.ts'
import { badFlag, notYet } from '../errors.ts'
import { parseBool } from '../pflag.ts'
import { parseSize, parseOctal } from './numbers.ts'
import { absolutePath, containerPath } from './paths.ts'

/** What `-v` and `--mount` come to; `notes` are for the user, e.g. about options without effect. */
export interface ParsedMount<T> {
  readonly mount: T
  readonly notes: readonly string[]
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Propagation = NonNullable<VolumeMount['propagation']>

const PROPAGATIONS: readonly string[] = [
  'private',
  'rprivate',
  'slave',
  'rslave',
  'shared',
  'rshared',
] satisfies Propagation[]
const FLAGS = ['noexec', 'nosuid', 'nodev']
const FLAG_DEFAULTS = ['exec', 'suid', 'dev']
/** For docker's virtual machines on other systems; copying is about named volumes. No effect on a bind mount here. */
const SILENT = ['cached', 'delegated', 'consistent', 'default', 'copy', 'nocopy', '']

/** `src:dst[:options]`; a relative source must begin with `.`, as in docker. Throws USAGE. */
export function parseVolume(text: string, cwd: string): ParsedMount<VolumeMount> {
  const bad = (reason: string, hint?: string) => badFlag('volume', text, reason, hint)
  const parts = text.split(':')
  const [source, target, options = ''] = parts
  if (parts.length > 3) throw bad('has more than two colons', 'SRC:DST[:OPTIONS]')
  if (target === undefined && source?.startsWith('/'))
    throw bad('anonymous volumes are not supported yet', 'name a host directory: SRC:DST')
  if (source === undefined || target === undefined || source === '') throw bad('not SRC:DST[:OPTIONS]')
  if (!source.startsWith('/') && !/^\.{1,2}(?:\/|$)/.test(source)) {
    throw bad('named volumes are not supported yet', `a host directory begins with / or ./, e.g. ./${source}`)
  }
  const mount: Mutable<VolumeMount> = { source: absolutePath(source, cwd), target: '', createSource: true }
  mount.target = containerPath('volume', text, target)
  const notes: string[] = []
  for (const option of options.split(',')) applyBindOption(mount, option, notes, bad)
  return { mount, notes }
}

function applyBindOption(
  mount: Mutable<VolumeMount>,
  option: string,
  notes: string[],
  bad: (reason: string, hint?: string) => Error,
): void {
  if (option === 'ro' || option === 'rw') mount.readonly = option === 'ro'
  else if (option === 'bind' || option === 'rbind') mount.recursive = option === 'rbind'
  else if (PROPAGATIONS.includes(option)) mount.propagation = option as Propagation
  else if (FLAGS.includes(option)) mount.flags = [...(mount.flags ?? []), option]
  else if (FLAG_DEFAULTS.includes(option)) mount.flags = (mount.flags ?? []).filter((flag) => flag !== `no${option}`)
  else if (option === 'z' || option === 'Z')
    notes.push(`volume ${mount.source}: option ${option} has no effect, labels are left as they are`)
  else if (option === 'U' || option === 'O' || option === 'idmap' || option.startsWith('idmap=')) {
    throw bad(
      `option ${option} is not supported yet`,
      option === 'O' ? '--rootfs PATH:O has a throw-away layer' : undefined,
    )
  } else if (!SILENT.includes(option)) {
    throw bad(
      `unknown option ${JSON.stringify(option)}`,
      'ro, rw, bind, rbind, noexec, nosuid, nodev, private, slave, shared ...',
    )
  }
}

/** `type=bind,src=/a,dst=/b,ro` or `type=tmpfs,dst=/b,tmpfs-size=64m`. Throws USAGE. */
export function parseMount(
  text: string,
  cwd: string,
): { readonly volume: ParsedMount<VolumeMount> } | { readonly tmpfs: TmpfsMount } {
  const fields = text.split(',').map((field): [string, string | undefined] => {
    const equals = field.indexOf('=')
    return equals < 0 ? [field, undefined] : [field.slice(0, equals).toLowerCase(), field.slice(equals + 1)]
  })
  const type = fields.findLast(([key]) => key === 'type')?.[1] ?? 'volume'
  const rest = fields.filter(([key]) => key !== 'type')
  if (type === 'bind') return { volume: parseBindMount(text, rest, cwd) }
  if (type === 'tmpfs') return { tmpfs: parseTmpfsFields(text, rest) }
  const known = ['volume', 'image', 'glob', 'devpts', 'ramfs', 'cluster', 'npipe', 'artifact'].includes(type)
  throw badFlag(
    'mount',
    text,
    known ? `type ${type} is not supported yet` : `unknown type ${JSON.stringify(type)}`,
    'type=bind or type=tmpfs',
  )
}

type Field = readonly [string, string | undefined]

function parseBindMount(text: string, fields: readonly Field[], cwd: string): ParsedMount<VolumeMount> {
  const bad = (reason: string, hint?: string) => badFlag('mount', text, reason, hint)
  const mount: Mutable<VolumeMount> = { source: '', target: '' }
  const notes: string[] = []
  const truth = (key: string, value: string | undefined): boolean => {
    const parsed = value === undefined ? true : parseBool(value)
    if (parsed === undefined) throw bad(`${key}=${value}: neither true nor false`)
    return parsed
  }
  for (const [key, value] of fields) {
    if (key === 'src' || key === 'source') mount.source = absolutePath(value ?? '', cwd)
    else if (key === 'dst' || key === 'destination' || key === 'target')
      mount.target = containerPath('mount', text, value ?? '')
    else if (key === 'ro' || key === 'readonly') mount.readonly = truth(key, value)
    else if (key === 'rw') mount.readonly = !truth(key, value)
    else if (key === 'bind-nonrecursive') mount.recursive = !truth(key, value)
    else if (key === 'bind-recursive' && (value === 'disabled' || value === 'enabled'))
      mount.recursive = value === 'enabled'
    else if (key === 'bind-propagation' && PROPAGATIONS.includes(value ?? '')) mount.propagation = value as Propagation
    else if (key === 'consistency' || key === 'relabel') notes.push(`mount ${mount.target}: ${key} has no effect`)
    else if (value === undefined && key !== '' && key !== 'type') applyBindOption(mount, key, notes, bad)
    else
      throw bad(
        value === undefined ? `${JSON.stringify(key)} is no field` : `unknown field ${key}=${value}`,
        'src, dst, ro, bind-propagation, bind-nonrecursive',
      )
  }
  if (mount.source === '' || mount.target === '')
    throw bad(`${mount.source === '' ? 'src' : 'dst'}= is missing`, 'type=bind,src=/host,dst=/container')
  return { mount, notes }
}

function parseTmpfsFields(text: string, fields: readonly Field[]): TmpfsMount {
  let target = ''
  const options: string[] = []
  for (const [key, value] of fields) {
    if (key === 'dst' || key === 'destination' || key === 'target') target = containerPath('mount', text, value ?? '')
    else if (key === 'tmpfs-size') options.push(`size=${value ?? ''}`)
    else if (key === 'tmpfs-mode') options.push(`mode=${value ?? ''}`)
    else if (key === 'readonly' && parseBool(value ?? 'true') !== undefined)
      options.push(parseBool(value ?? 'true') ? 'ro' : 'rw')
    else options.push(value === undefined ? key : `${key}=${value}`)
  }
  if (target === '') throw badFlag('mount', text, 'dst= is missing', 'type=tmpfs,dst=/container')
  return tmpfsMount('mount', text, target, options)
}

/** `/tmp[:size=64m,mode=1777]` (tmpfs(5), mount(8)). Throws USAGE. */
export function parseTmpfs(text: string): TmpfsMount {
  const colon = text.indexOf(':')
  const target = containerPath('tmpfs', text, colon < 0 ? text : text.slice(0, colon))
  const options =
    colon < 0
      ? []
      : text
          .slice(colon + 1)
          .split(',')
          .filter((option) => option !== '')
  return tmpfsMount('tmpfs', text, target, options)
}

const TMPFS_WORDS = (
  'ro rw exec noexec suid nosuid dev nodev sync async dirsync atime noatime diratime nodiratime relatime ' +
  'norelatime strictatime'
).split(' ')
/** podman's own words: whether the image's files are copied up. An image directory under a tmpfs stays hidden here. */
const TMPFS_IGNORED = ['tmpcopyup', 'notmpcopyup', 'rprivate', 'private']

function tmpfsMount(flag: string, text: string, target: string, given: readonly string[]): TmpfsMount {
  const options = given.filter((option) => !TMPFS_IGNORED.includes(option))
  for (const option of options) {
    const equals = option.indexOf('=')
    const key = equals < 0 ? option : option.slice(0, equals)
    const value = option.slice(equals + 1)
    if (equals < 0 && TMPFS_WORDS.includes(key)) continue
    if (key === 'size' && (/^[0-9]{1,3}%$/.test(value) || parseSize(flag, value, text) > 0)) continue
    if (key === 'mode' && parseOctal(value) !== undefined) continue
    if (['uid', 'gid', 'nr_inodes', 'nr_blocks'].includes(key) && /^[0-9]{1,10}[kmg]?$/i.test(value)) continue
    throw badFlag(
      flag,
      text,
      `not a tmpfs option: ${JSON.stringify(option)}`,
      'size=, mode=, uid=, gid=, ro, noexec ...',
    )
  }
  return { target, ...(options.length === 0 ? {} : { options }) }
}

/** `/dev/a[:/dev/b][:rwm]`. Throws USAGE. */
export function parseDevice(text: string): DeviceOption {
  const bad = (reason: string, hint?: string) => badFlag('device', text, reason, hint)
  const parts = text.split(':')
  const hostPath = parts[0] ?? ''
  if (!hostPath.startsWith('/') && /^[a-z0-9.-]+\/[a-z0-9_-]+=/i.test(hostPath))
    throw notYet('device', text, 'CDI names; use device files')
  if (!hostPath.startsWith('/')) throw bad('the path of a device begins with /', 'e.g. /dev/fuse')
  if (parts.length > 3) throw bad('not HOST[:CONTAINER][:rwm]')
  const twoWithAccess = parts.length === 2 && /^[rwm]+$/.test(parts[1] ?? '')
  const access = (twoWithAccess ? parts[1] : parts[2]) ?? 'rwm'
  const inside = (twoWithAccess ? undefined : parts[1]) ?? hostPath
  if (!/^[rwm]{1,3}$/.test(access) || new Set(access).size !== access.length)
    throw bad(`access ${JSON.stringify(access)}: any of r, w, m, once each`)
  return { hostPath: absolutePath(hostPath, '/'), containerPath: containerPath('device', text, inside), access }
}

/** `c 189:* rwm` (the kernel's devices cgroup notation). Throws USAGE. */
export function parseDeviceRule(text: string): string {
  if (/^(?:a|[acb] (?:[0-9]{1,7}|\*):(?:[0-9]{1,7}|\*) [rwm]{1,3})$/.test(text)) return text
  throw badFlag('device-cgroup-rule', text, 'not TYPE MAJOR:MINOR ACCESS', "e.g. 'c 189:* rwm'")
}

/** `PATH[:O]`. Throws USAGE. */
export function parseRootfs(text: string, cwd: string): { readonly path: string; readonly overlay: boolean } {
  const overlay = text.endsWith(':O')
  const path = overlay ? text.slice(0, -2) : text
  if (path === '')
    throw badFlag('rootfs', text, 'the directory is missing', 'e.g. /:O for this machine under a throw-away layer')
  if (path.includes(':')) throw badFlag('rootfs', text, 'only the option :O is supported yet')
  return { path: absolutePath(path, cwd), overlay }
}
