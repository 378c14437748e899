import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { storePaths } from '../../images/layout.ts'
import { tryLock } from '../../images/lock.ts'
import { removeTree } from '../../images/remove-tree.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { hostFacts } from '../../runtime/host.ts'
import { viewContainers } from '../state/containers-view.ts'
import { mountedImages, unmountImage } from '../image-verbs/mounts.ts'
import { removeNetworks } from '../networks/reset.ts'
import { DEFAULT_ROOT, type EnginePaths } from '../paths.ts'
import { removeContainer } from '../state/remove.ts'
import { storeFailure } from '../state/store-failure.ts'
import { volumeSummaries } from '../volumes/verbs.ts'

export interface ResetOptions {
  /** Also while containers run: they are killed. */
  readonly force: boolean
}

export interface Reset {
  /** Ids of the containers that are gone. */
  readonly containers: readonly string[]
  /** What is still there, one line each. */
  readonly stays: readonly string[]
}

/** All that tscrun makes in a store; in a directory that somebody named by mistake nothing else is touched. */
const PARTS = ['containers', 'images', 'layers', 'names', 'prepared', 'ranges', 'records', 'volumes', 'work']
const FILES = ['index.lock', 'use.lock', 'events.log', 'events.log.1', 'boot']

/**
 * Ends and removes every container, the networks with what of them is the host's, then all that tscrun keeps in its store
 * and its run directory.
 */
export async function reset(paths: EnginePaths, { force }: ResetOptions): Promise<Reset> {
  if (!isStore(paths)) return { containers: [], stays: [] }
  const views = viewContainers(paths)
  const running = views.filter(({ status }) => status !== 'stopped' && status !== 'created')
  if (running.length > 0 && !force) {
    const names = running.map(({ record }) => record.name).join(', ')
    throw new TscrunError('CONTAINER_STATE', `system reset: containers run: ${names}`, {
      subject: names,
      hint: 'stop them first, or end them with --force',
    })
  }
  const bound = volumeSummaries(paths).flatMap(({ name, options, mountpoint }) =>
    options['device'] === undefined || mountpoint === '' ? [] : [`${mountpoint} (volume ${name})`],
  )
  const containers: string[] = []
  for (const { record } of views) containers.push(await removeContainer(paths, record.id, { force, volumes: true }))
  for (const { id } of mountedImages(paths)) unmountImage(paths, id, { force })
  const ofNetworks = await removeNetworks(paths)
  removeStore(paths)
  const left = [...leftIn(paths.root), ...leftIn(paths.runRoot)]
  return { containers, stays: [...left, ...ofNetworks, ...cgroupLeft(paths), ...bound] }
}

/** One that has begun to be removed is one too. */
function isStore({ root }: EnginePaths): boolean {
  return (
    existsSync(join(root, 'images', 'oci-layout')) || ['names', 'ranges'].every((name) => existsSync(join(root, name)))
  )
}

function removeStore(paths: EnginePaths): void {
  try {
    const { useLock } = storePaths(paths.root)
    using lock = tryLock(useLock, 'exclusive')
    if (lock === undefined) {
      throw new TscrunError('STORE', `system reset: another command uses ${paths.root}`, {
        subject: paths.root,
        hint: 'end that command, then try again',
      })
    }
    // The directories that make it a store last: whatever ends this on its way, it can be begun again.
    const last = ['names', 'ranges']
    for (const name of [...PARTS.filter((part) => !last.includes(part)), ...FILES, ...last]) {
      removeTree(join(paths.root, name), paths.root)
    }
    removeIfEmpty(paths.root)
    rmSync(paths.runRoot, { recursive: true, force: true })
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') {
      throw new TscrunError('STORE', `system reset: something is mounted in ${paths.root}`, {
        subject: paths.root,
        hint: 'unmount it: `findmnt` lists what is mounted',
        cause: error,
      })
    }
    throw storeFailure(error, paths.root)
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    if (!['ENOTEMPTY', 'ENOENT', 'EBUSY'].includes(errnoOf(error) ?? '')) throw error
  }
}

function leftIn(directory: string): string[] {
  if (!existsSync(directory)) return []
  const names = readdirSync(directory)
  return names.length === 0
    ? [`${directory} (a mount point)`]
    : names.flatMap((name) => (name === 'cni' ? [] : [`${join(directory, name)} (not of tscrun)`]))
}

/** The cgroup around all containers is that of every store: only without one of another place is it nobody's. */
function cgroupLeft(paths: EnginePaths): string[] {
  const { mountpoint, readonly } = hostFacts().cgroup
  if (mountpoint === undefined || readonly) return []
  const parent = join(mountpoint, 'tscrun')
  if (paths.root === DEFAULT_ROOT) {
    for (const directory of [join(parent, 'monitors'), parent]) removeIfEmpty(directory)
  }
  return existsSync(parent) ? [`${parent} (other stores may use it)`] : []
}
