import type { BindMount, RunOptions, StoreVolumeMount, TmpfsMount, VolumeMount } from '../../model/run-options.ts'
import { badFlag } from '../errors.ts'
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
/** For docker's virtual machines on other systems, and what is the default. */
const SILENT = ['cached', 'delegated', 'consistent', 'default', 'copy', '']

type Bad = (reason: string, hint?: string) => Error

/**
 * `src:dst[:options]`; a relative source must begin with `.`, as in docker; another word is the name of a volume, and a
 * path alone an anonymous one. Throws USAGE.
 */
export function parseVolume(text: string, cwd: string): ParsedMount<VolumeMount> {
  const bad: Bad = (reason, hint) => badFlag('volume', text, reason, hint)
  const parts = text.split(':')
  const [source = '', target, options = ''] = parts
  if (parts.length > 3) throw bad('has more than two colons', 'SRC:DST[:OPTIONS]')
  if (target === undefined) {
    if (!source.startsWith('/'))
      throw bad('not SRC:DST[:OPTIONS]', 'a path in the container alone is an anonymous volume')
    return { mount: { target: containerPath('volume', text, source) }, notes: [] }
  }
  if (source === '') throw bad('not SRC:DST[:OPTIONS]')
  const onHost = source.startsWith('/') || /^\.{1,2}(?:\/|$)/.test(source)
  if (!onHost) checkName(source, bad)
  const mount: Mutable<BindMount> | Mutable<StoreVolumeMount> = onHost
    ? { source: absolutePath(source, cwd), target: '', createSource: true }
    : { volume: source, target: '' }
  mount.target = containerPath('volume', text, target)
  const notes: string[] = []
  for (const option of options.split(',')) applyOption(mount, option, notes, bad)
  return { mount, notes }
}

/** Docker's rule. */
function checkName(name: string, bad: Bad): void {
  if (/^[A-Za-z0-9][\w.-]{0,254}$/.test(name)) return
  throw bad(
    `${JSON.stringify(name)} is no name of a volume`,
    'letters, digits, _ . - and a letter or digit first; a host directory begins with / or ./',
  )
}

function applyOption(
  mount: Mutable<BindMount> | Mutable<StoreVolumeMount>,
  option: string,
  notes: string[],
  bad: Bad,
): void {
  const name = mount.source ?? ('volume' in mount ? mount.volume : undefined) ?? mount.target
  if (option === 'ro' || option === 'rw') mount.readonly = option === 'ro'
  else if ((option === 'bind' || option === 'rbind') && mount.source !== undefined) mount.recursive = option === 'rbind'
  else if (option === 'nocopy') {
    if (mount.source === undefined) mount.nocopy = true
  } else if (option === 'U') mount.chown = true
  else if (PROPAGATIONS.includes(option)) mount.propagation = option as Propagation
  else if (FLAGS.includes(option)) mount.flags = [...(mount.flags ?? []), option]
  else if (FLAG_DEFAULTS.includes(option)) mount.flags = (mount.flags ?? []).filter((flag) => flag !== `no${option}`)
  else if (option === 'z' || option === 'Z')
    notes.push(`volume ${name}: option ${option} has no effect, labels are left as they are`)
  else if (option === 'O' || option === 'idmap' || option.startsWith('idmap=')) {
    throw bad(
      `option ${option} is not supported yet`,
      option === 'O' ? '--rootfs PATH:O has a throw-away layer' : undefined,
    )
  } else if (!SILENT.includes(option)) {
    throw bad(
      `unknown option ${JSON.stringify(option)}`,
      'ro, rw, U, nocopy, bind, rbind, noexec, nosuid, nodev, private, slave, shared ...',
    )
  }
}

/** `type=bind,src=/a,dst=/b,ro`, `type=volume,src=data,dst=/b` or `type=tmpfs,dst=/b,tmpfs-size=64m`. Throws USAGE. */
export function parseMount(
  text: string,
  cwd: string,
): { readonly volume: ParsedMount<VolumeMount> } | { readonly tmpfs: TmpfsMount } {
  const fields = commaSeparated(text).map((field): Field => {
    const equals = field.indexOf('=')
    return equals < 0 ? [field, undefined] : [field.slice(0, equals).toLowerCase(), field.slice(equals + 1)]
  })
  const type = fields.findLast(([key]) => key === 'type')?.[1] ?? 'volume'
  const rest = fields.filter(([key]) => key !== 'type')
  if (type === 'bind') return { volume: parseBindMount(text, rest, cwd) }
  if (type === 'volume') return { volume: parseVolumeMount(text, rest) }
  if (type === 'tmpfs') return { tmpfs: parseTmpfsFields(text, rest) }
  const known = ['image', 'glob', 'devpts', 'ramfs', 'cluster', 'npipe', 'artifact'].includes(type)
  throw badFlag(
    'mount',
    text,
    known ? `type ${type} is not supported yet` : `unknown type ${JSON.stringify(type)}`,
    'type=bind, type=volume or type=tmpfs',
  )
}

type Field = readonly [string, string | undefined]

/** As in a line of CSV, a field in double quotes may have commas in it: `"volume-opt=o=size=1m,mode=700"`. */
function commaSeparated(text: string): string[] {
  if (!text.includes('"')) return text.split(',')
  return [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain = '']) => quoted?.replaceAll('""', '"') ?? plain,
  )
}

/** The fields that each type has; false where it is another one. */
function applyCommonField(
  mount: Mutable<BindMount> | Mutable<StoreVolumeMount>,
  [key, value]: Field,
  text: string,
  bad: Bad,
): boolean {
  if (key === 'dst' || key === 'destination' || key === 'target')
    mount.target = containerPath('mount', text, value ?? '')
  else if (key === 'ro' || key === 'readonly') mount.readonly = truth(key, value, bad)
  else if (key === 'rw') mount.readonly = !truth(key, value, bad)
  else if (key === 'u' || key === 'chown') mount.chown = truth(key, value, bad)
  else return false
  return true
}

function truth(key: string, value: string | undefined, bad: Bad): boolean {
  const parsed = value === undefined ? true : parseBool(value)
  if (parsed === undefined) throw bad(`${key}=${value}: neither true nor false`)
  return parsed
}

function parseBindMount(text: string, fields: readonly Field[], cwd: string): ParsedMount<VolumeMount> {
  const bad: Bad = (reason, hint) => badFlag('mount', text, reason, hint)
  const mount: Mutable<BindMount> = { source: '', target: '' }
  const notes: string[] = []
  for (const field of fields) {
    const [key, value] = field
    if (applyCommonField(mount, field, text, bad)) continue
    if (key === 'src' || key === 'source') mount.source = absolutePath(value ?? '', cwd)
    else if (key === 'bind-nonrecursive') mount.recursive = !truth(key, value, bad)
    else if (key === 'bind-recursive') applyRecursive(mount, value, bad)
    else if (key === 'bind-create-src') mount.createSource = truth(key, value, bad)
    else if (key === 'bind-propagation' && PROPAGATIONS.includes(value ?? '')) mount.propagation = value as Propagation
    else if (key === 'consistency' || key === 'relabel') notes.push(`mount ${mount.target}: ${key} has no effect`)
    else if (value === undefined && key !== '') applyOption(mount, key, notes, bad)
    else
      throw bad(
        value === undefined ? `${JSON.stringify(key)} is no field` : `unknown field ${key}=${value}`,
        'src, dst, ro, bind-propagation, bind-recursive, bind-nonrecursive',
      )
  }
  if (mount.source === '' || mount.target === '')
    throw bad(`${mount.source === '' ? 'src' : 'dst'}= is missing`, 'type=bind,src=/host,dst=/container')
  return { mount, notes }
}

/** Docker's words. What is read-only here is so with all that is mounted in it. */
function applyRecursive(mount: Mutable<BindMount>, value: string | undefined, bad: Bad): void {
  if (value === 'enabled' || value === 'readonly') mount.recursive = true
  else if (value === 'disabled') mount.recursive = false
  else if (value === 'writable')
    throw bad('bind-recursive=writable is not supported', 'mounts below a read-only one are read-only too')
  else throw bad(`bind-recursive=${value ?? ''}: unknown`, 'enabled, disabled or readonly')
}

function parseVolumeMount(text: string, fields: readonly Field[]): ParsedMount<VolumeMount> {
  const bad: Bad = (reason, hint) => badFlag('mount', text, reason, hint)
  const mount: Mutable<StoreVolumeMount> = { target: '' }
  const notes: string[] = []
  const add = (key: 'labels' | 'options', value = ''): void => {
    const equals = value.indexOf('=')
    const [name, content] = equals < 0 ? [value, ''] : [value.slice(0, equals), value.slice(equals + 1)]
    if (name === '') throw bad(`${key === 'labels' ? 'volume-label' : 'volume-opt'}=${value}: not KEY=VALUE`)
    mount[key] = { ...mount[key], [name]: content }
  }
  for (const field of fields) {
    const [key, value] = field
    if (applyCommonField(mount, field, text, bad)) continue
    if ((key === 'src' || key === 'source') && value !== undefined) {
      if (value === '') continue
      checkName(value, bad)
      mount.volume = value
    } else if (key === 'volume-nocopy') mount.nocopy = truth(key, value, bad)
    else if (key === 'volume-opt') add('options', value)
    else if (key === 'volume-label') add('labels', value)
    else if (key === 'volume-driver' && value === 'local') continue
    else if (key === 'volume-driver') throw bad(`volume driver ${value}: there is only local`)
    else if (key === 'volume-subpath' || key === 'subpath') throw bad(`${key} is not supported yet`)
    else if (key === 'consistency') notes.push(`mount ${mount.target}: ${key} has no effect`)
    else if (value === undefined && key !== '') applyOption(mount, key, notes, bad)
    else
      throw bad(
        value === undefined ? `${JSON.stringify(key)} is no field` : `unknown field ${key}=${value}`,
        'src, dst, ro, volume-nocopy, volume-opt, volume-label',
      )
  }
  if (mount.target === '') throw bad('dst= is missing', 'type=volume,src=name,dst=/container')
  return { mount, notes }
}

/** `NAME[:ro|rw]`. Throws USAGE. */
export function parseVolumesFrom(text: string): NonNullable<RunOptions['volumesFrom']>[number] {
  const colon = text.lastIndexOf(':')
  const [container, mode] = colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)]
  const words = mode === undefined ? [] : mode.split(',')
  const unknown = words.find((word) => !['ro', 'rw', 'z'].includes(word))
  if (container === '' || unknown !== undefined)
    throw badFlag('volumes-from', text, 'not CONTAINER[:ro]', 'a name or an id of a container')
  if (words.includes('ro')) return { container, readonly: true }
  return words.includes('rw') ? { container, readonly: false } : { container }
}

function parseTmpfsFields(text: string, fields: readonly Field[]): TmpfsMount {
  let target = ''
  const options: string[] = []
  for (const [key, value] of fields) {
    if (key === 'dst' || key === 'destination' || key === 'target') target = containerPath('mount', text, value ?? '')
    else if (key === 'tmpfs-size') options.push(`size=${value ?? ''}`)
    else if (key === 'tmpfs-mode') options.push(`mode=${value ?? ''}`)
    else if (key === 'consistency') continue
    else if ((key === 'readonly' || key === 'ro') && parseBool(value ?? 'true') !== undefined)
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
