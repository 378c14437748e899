import type { IdMapping, OciMount } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import { AT, MOUNT_ATTR, MS, O, OPEN_TREE_CLONE } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'
import { OF_THE_FILESYSTEM, type ParsedOptions } from './mount-options.ts'

interface Bind {
  readonly slot: FdSlot
  /** Of the mount in config.json. */
  readonly index: number
  /** MS_* where the options name none; undefined where config.json is our own. */
  readonly propagation: number | undefined
  /** `slot` is its source already (sourceSteps). */
  readonly opened?: boolean
}

/** Who opens a source where it is not to be found later: the root is attached over a directory of the host. */
export function sourceSteps(mount: OciMount, slot: FdSlot): Step[] {
  const { dir, path } = sourceOf(mount)
  const about = `open ${path} for ${mount.destination}`
  return [{ op: 'open', fd: slot, dir, path, flags: O.PATH, mode: 0, resolve: 0, about }]
}

function sourceOf({ source = '' }: OciMount): { dir: FdSlot | 'cwd'; path: string } {
  return { dir: source.startsWith('/') ? 'cwd' : 'fd:directory', path: source }
}

/** A file or directory of the host as the mount `slot`, with its options. Throws INVALID_CONFIG for unknown ones. */
export function bindSteps(mount: OciMount, options: ParsedOptions, bind: Bind): Step[] {
  const { slot, index } = bind
  // Others send `mode=755` and the like with bind mounts: mount(2) does not look at what is for a filesystem.
  if (bind.propagation === undefined) checkOptions(options, index)
  const source = sourceOf(mount)
  const recursive = options.recursive ? AT.RECURSIVE : 0
  const about = `set the options of ${mount.destination}`
  return [
    {
      op: 'open_tree',
      fd: slot,
      ...(bind.opened === true ? { dir: slot, path: '' } : source),
      flags: OPEN_TREE_CLONE | recursive | (bind.opened === true ? AT.EMPTY_PATH : 0),
      about: `open ${source.path} for ${mount.destination}`,
    },
    ...(bind.propagation === undefined
      ? [
          // A clone of a shared mount is shared too: what the container mounts must not reach the host unasked.
          setattr(slot, recursive, options, options.propagation || MS.PRIVATE, about),
        ]
      : literalSteps(slot, options, bind.propagation, about)),
    ...idmapSteps(mount, options, bind),
  ]
}

function setattr(
  mount: FdSlot,
  at: number,
  { set, clear }: { readonly set: number; readonly clear: number },
  propagation: number,
  about: string,
): Step {
  return { op: 'mount_setattr', mount, at, set, clear, propagation, userns: 'none', about }
}

/** Only a word that begins with `r` is for the mounts below (config.md, Linux mount options). */
function literalSteps(slot: FdSlot, options: ParsedOptions, otherwise: number, about: string): Step[] {
  const { below, propagation, propagatesBelow } = options
  const everywhere = options.recursive ? AT.RECURSIVE : 0
  const steps: Step[] = []
  // A mount that left its peers would not find them again: with `shared` all stay where they are.
  const first =
    propagation === 0 ? otherwise : propagatesBelow ? propagation : propagation === MS.SHARED ? 0 : otherwise
  const nothing = { set: 0, clear: 0 }
  if (first !== 0) steps.push(setattr(slot, everywhere, nothing, first, about))
  if (propagation !== 0 && propagation !== first) steps.push(setattr(slot, 0, nothing, propagation, about))
  if (below.set !== 0 || below.clear !== 0) steps.push(setattr(slot, everywhere, below, 0, about))
  if (options.set !== 0 || options.clear !== 0) steps.push(setattr(slot, 0, options, 0, about))
  return steps
}

/** A bind has no filesystem of its own that an unknown word could be for. */
function checkOptions(options: ParsedOptions, index: number): void {
  const unknown = options.data.find(([key, value]) => value !== undefined || !OF_THE_FILESYSTEM.has(key))
  if (unknown === undefined) return
  const word = unknown[1] === undefined ? unknown[0] : unknown.join('=')
  throw new TscrunError(
    'INVALID_CONFIG',
    `config.json: mounts[${index}].options: a bind mount has no option ${JSON.stringify(word)}`,
    { subject: `mounts[${index}].options`, hint: 'mount(8) lists the options that do not depend on a filesystem' },
  )
}

function idmapSteps(mount: OciMount, options: ParsedOptions, { slot, index, propagation }: Bind): Step[] {
  const { uidMappings = [], gidMappings = [] } = mount
  const own = uidMappings.length > 0
  if (options.idmap === 'none' && !own) return []
  const literal = propagation !== undefined
  const below = literal ? options.idmap === 'below' : options.recursive
  const view: FdSlot = own ? `fd:idview${index}` : 'fd:userns'
  const steps: Step[] = own
    ? [
        {
          op: 'id_view',
          view,
          uids: mapLines(uidMappings),
          gids: mapLines(gidMappings),
          about: `make the id mapping of ${mount.destination}`,
        },
      ]
    : []
  steps.push({
    op: 'mount_setattr',
    mount: slot,
    at: below && options.recursive ? AT.RECURSIVE : 0,
    set: MOUNT_ATTR.IDMAP,
    clear: 0,
    propagation: 0,
    userns: view,
    about: `shift the owners of ${mount.source ?? ''}`,
    hint: literal
      ? 'its filesystem cannot be id-mapped: ext4, xfs and btrfs can'
      : 'its filesystem cannot be id-mapped: use --userns=host, or a directory on ext4, xfs, btrfs',
  })
  return steps
}

/** Lines for uid_map (user_namespaces(7)). */
function mapLines(mappings: readonly IdMapping[]): string {
  return mappings.map((mapping) => `${mapping.containerID} ${mapping.hostID} ${mapping.size}\n`).join('')
}
