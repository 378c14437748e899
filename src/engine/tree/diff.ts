import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Change, compareLayers } from '../../archive/changes.ts'
import { TscrunError } from '../../model/errors.ts'
import { openPlace } from '../../syscall/at.ts'
import { closeFd } from '../../syscall/process.ts'
import { ownersOf, storedRootfs } from './container-root.ts'
import { findContainer } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { sweep } from '../state/sweep.ts'

/** A path that a container has otherwise than its image: added, changed or deleted. */
export interface PathChange {
  readonly kind: 'A' | 'C' | 'D'
  /** Absolute; bytes that are no UTF-8 are shown as U+FFFD. */
  readonly path: string
}

const LETTERS = { added: 'A', changed: 'C', deleted: 'D' } as const

export async function containerChanges(paths: EnginePaths, idOrName: string): Promise<readonly PathChange[]> {
  await sweep(paths, 'live')
  const { record } = findContainer(paths, idOrName)
  using upper = openUpper(paths, record, 'diff')
  return upper.changes().map(({ kind, path }) => ({ kind: LETTERS[kind], path: `/${path.toString()}` }))
}

/** What a container wrote, on the disk, and the layers below it. */
export interface Upper extends Disposable {
  /** Undefined where it has not been made yet: nothing was started, and nothing copied into it. */
  readonly fd: number | undefined
  changes(): readonly Change[]
}

/** Throws CONTAINER_STATE where what it writes is not kept in a directory of its own. */
export function openUpper(paths: EnginePaths, record: ContainerRecord, verb: string): Upper {
  const rootfs = storedRootfs(record, verb)
  if (rootfs.kind === 'directory') {
    throw noUpper(
      verb,
      record,
      `it writes into ${rootfs.path} itself`,
      'only a container of an image has a layer of its own',
    )
  }
  if (rootfs.upper === 'tmpfs') {
    throw noUpper(
      verb,
      record,
      'what it writes is kept in memory alone',
      '`tscrun export` and `tscrun cp` read it while it runs',
    )
  }
  const opened: number[] = []
  const open = (path: string): number => {
    const fd = openPlace(path)
    opened.push(fd)
    return fd
  }
  const close = (): void => {
    for (const fd of opened.splice(0)) closeFd(fd)
  }
  try {
    const own = join(paths.containers, record.id)
    if (!existsSync(join(own, 'upper')) && existsSync(own))
      return { fd: undefined, changes: () => [], [Symbol.dispose]: close }
    const fd = open(join(own, 'upper'))
    const lowers = rootfs.layers.toReversed().map((layer) => open(join(rootfs.base, layer)))
    const layers = { upper: fd, lowers, owners: ownersOf(record), own: ownPlaces(record) }
    return { fd, changes: () => compareLayers(layers), [Symbol.dispose]: close }
  } catch (error) {
    close()
    throw error
  }
}

function noUpper(verb: string, { name }: ContainerRecord, reason: string, hint: string): TscrunError {
  return new TscrunError('CONTAINER_STATE', `${verb} ${name}: ${reason}`, { subject: name, hint })
}

/** Where tscrun mounts what every container has; a volume's place is the user's wish and counts as a change. */
function ownPlaces({ config, launch }: ContainerRecord): ReadonlySet<string> {
  const mounted = (config.mounts ?? []).filter(({ type }) => type !== 'bind').map(({ destination }) => destination)
  const files = (launch?.files ?? []).map(({ target }) => target)
  return new Set([...mounted, ...files, '/dev'].map((path) => Buffer.from(path.slice(1)).toString('latin1')))
}
