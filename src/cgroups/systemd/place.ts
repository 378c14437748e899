import { TscrunError } from '../../model/errors.ts'

/** A cgroup path in systemd's form, `slice:prefix:name`. */
export interface SystemdPlace {
  /** Such as `system.slice`; `-.slice` is the root. */
  readonly slice: string
  readonly prefix: string
  readonly name: string
}

const DEFAULT_SLICE = 'system.slice'
const DEFAULT_PREFIX = 'tscrun'
/** UNIT_NAME_MAX without the zero byte (systemd.unit(5)). */
const MAX_UNIT_NAME = 255

/**
 * `linux.cgroupsPath` as an OCI runtime with a systemd cgroup driver reads it: three parts, of which an empty slice is
 * `system.slice` and `-` the root. An empty path is `system.slice:tscrun:<id>`. Throws INVALID_CONFIG naming the part.
 */
export function parseSystemdCgroupsPath(path: string, id?: string): SystemdPlace {
  if (path === '' && id !== undefined) {
    return { slice: DEFAULT_SLICE, prefix: DEFAULT_PREFIX, name: escapeUnitName(id) }
  }
  const [slice = '', prefix = '', name = '', ...more] = path.split(':')
  if (more.length > 0 || path.split(':').length !== 3) throw invalid(path, 'is not of the form slice:prefix:name')
  if (name === '') throw invalid(path, 'has no name')
  const place = { slice: sliceName(slice), prefix, name }
  checkSlice(path, place.slice)
  if (name.endsWith('.slice')) checkSlice(path, name)
  if (!isUnitName(unitName(place))) throw invalid(path, `gives ${JSON.stringify(unitName(place))}, no name of a unit`)
  return place
}

function sliceName(text: string): string {
  if (text === '') return DEFAULT_SLICE
  return text === '-' ? '-.slice' : text
}

/** `<prefix>-<name>.scope`, as runc names it; a name that ends with `.slice` is the unit itself. */
export function unitName({ prefix, name }: SystemdPlace): string {
  return name.endsWith('.slice') ? name : `${prefix}-${name}.scope`
}

/**
 * The cgroup of a slice, below the root of the hierarchy: dashes are levels, so `a-b.slice` is `/a.slice/a-b.slice`
 * (systemd.slice(5)). Throws INVALID_CONFIG for what is no slice.
 */
export function expandSlice(slice: string): string {
  checkSlice(slice, slice)
  if (slice === '-.slice') return '/'
  const parts = slice.slice(0, -'.slice'.length).split('-')
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('')
}

/** Where systemd will put the unit, below the root of the hierarchy. */
export function cgroupOfUnit(place: SystemdPlace): string {
  const unit = unitName(place)
  if (unit.endsWith('.slice')) return expandSlice(unit)
  const parent = expandSlice(place.slice)
  return `${parent === '/' ? '' : parent}/${unit}`
}

/** `text` for a part of a unit's name: every byte that may not stand there as `\xNN` (systemd.unit(5)). */
export function escapeUnitName(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[^A-Za-z0-9:_.-]/g, (char) => `\\x${hex(char)}`)
}

/** The object of a unit on the bus: bytes other than letters and digits, and a digit in front, as `_nn`. */
export function unitObjectPath(unit: string): string {
  const text = Buffer.from(unit).toString('latin1')
  return `/org/freedesktop/systemd1/unit/${text.replaceAll(/^[0-9]|[^A-Za-z0-9]/g, (char) => `_${hex(char)}`)}`
}

function hex(char: string): string {
  return char.charCodeAt(0).toString(16).padStart(2, '0')
}

function isUnitName(name: string): boolean {
  // A name with @ before its suffix would be a template, or its instance.
  return name.length <= MAX_UNIT_NAME && /^[A-Za-z0-9:_.\\-]+\.(?:scope|slice)$/.test(name)
}

function checkSlice(path: string, slice: string): void {
  const valid = slice === '-.slice' || /^[A-Za-z0-9:_.\\]+(?:-[A-Za-z0-9:_.\\]+)*\.slice$/.test(slice)
  if (!valid || !isUnitName(slice)) throw invalid(path, `has ${JSON.stringify(slice)}, no slice`)
}

function invalid(path: string, reason: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `config.json: linux.cgroupsPath: ${JSON.stringify(path)} ${reason}`, {
    subject: 'linux.cgroupsPath',
    hint: 'with --systemd-cgroup it is slice:prefix:name, such as system.slice:tscrun:web',
  })
}
