import { closeSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { BindMount, StoreVolumeMount, TmpfsMount, VolumeMount } from '../../model/run-options.ts'
import { pause } from '../../syscall/pause.ts'
import { randomId } from '../../syscall/random.ts'
import { realSource } from '../start/devices.ts'
import { isHeld } from '../state/directory-lock.ts'
import type { EnginePaths } from '../paths.ts'
import { chownTree } from './chown.ts'
import { copyUp } from './copy-up.ts'
import { checkDevice, kindOf } from './options.ts'
import { checkVolumeName, endFreshness, isFresh, makeVolume, readVolume, usersOf, type VolumeRecord } from './store.ts'
import {
  addUser,
  DATA,
  type KeptMount,
  type KeptVolume,
  lockVolume,
  releaseVolumes,
  userIds,
  volumePath,
} from './users.ts'

/** What the mounts of a container come to, once its volumes are there. */
export interface TakenMounts {
  /** For its record. */
  readonly kept: readonly KeptMount[]
  readonly binds: readonly BindMount[]
  readonly tmpfs: readonly TmpfsMount[]
}

export interface TakeOptions {
  readonly id: string
  readonly mounts: readonly VolumeMount[]
  /** Of the image, bottom to top. */
  readonly layers: readonly string[]
  /** For mounts that are to be given to it; ids of the container. */
  readonly user: { readonly uid: number; readonly gid: number }
  readonly signal?: AbortSignal
}

/**
 * Makes the volumes a container names where they are missing, fills new ones from its image, and enters the container as
 * their user. Rejects having let go of all of them, the anonymous ones removed.
 */
export async function takeMounts(paths: EnginePaths, options: TakeOptions): Promise<TakenMounts> {
  const kept: KeptMount[] = []
  const binds: BindMount[] = []
  const tmpfs: TmpfsMount[] = []
  try {
    for (const mount of options.mounts) {
      if (mount.source !== undefined) {
        kept.push(mount)
        binds.push(mount.chown === true ? { ...mount, source: realSource(mount, false) } : mount)
      } else {
        const volume = named(mount)
        // Before it is there: what fails from here on lets go of it.
        kept.push(volume)
        const { bind, memory } = await takeVolume(paths, volume, options)
        if (bind !== undefined) binds.push(bind)
        if (memory !== undefined) tmpfs.push(memory)
      }
    }
    for (const { source, target, chown } of binds) if (chown === true) chownTree(source, target, options.user)
    return { kept, binds, tmpfs }
  } catch (error) {
    releaseVolumes(paths, options.id, kept, true)
    throw error
  }
}

/** The same without making anything, for a plan that is only shown. */
export function imagineMounts(paths: EnginePaths, mounts: readonly VolumeMount[]): TakenMounts {
  const volumes = mounts.map((mount) => (mount.source === undefined ? named(mount) : mount))
  const placed = volumes.map((mount) => {
    if (mount.source !== undefined) return { bind: mount }
    return placeOf(paths, mount, readVolume(paths, mount.volume) ?? recordOf(mount))
  })
  return {
    kept: volumes,
    binds: placed.flatMap(({ bind }) => (bind === undefined ? [] : [{ ...bind, createSource: true }])),
    tmpfs: placed.flatMap((place) => ('memory' in place && place.memory !== undefined ? [place.memory] : [])),
  }
}

function named(mount: StoreVolumeMount): KeptVolume {
  const { volume } = mount
  if (volume === undefined) return { ...mount, volume: randomId(), anonymous: true }
  // One that another container made for itself is not this one's to remove.
  return { ...mount, volume: checkVolumeName(volume), anonymous: false }
}

function recordOf({ volume, labels = {}, options = {}, anonymous }: KeptVolume): VolumeRecord {
  return { version: 1, name: volume, createdMs: Date.now(), labels, options, anonymous }
}

interface Place {
  readonly bind?: BindMount
  readonly memory?: TmpfsMount
}

async function takeVolume(paths: EnginePaths, mount: KeptVolume, options: TakeOptions): Promise<Place> {
  const volume = volumePath(paths, mount.volume)
  for (let wait = 1; ; wait = Math.min(wait * 2, 20)) {
    options.signal?.throwIfAborted()
    const record = readVolume(paths, mount.volume)
    if (record === undefined) {
      checkDevice(kindOf(mount.options ?? {}))
      makeVolume(paths, recordOf(mount))
      continue
    }
    const lockFd = lockVolume(volume)
    if (lockFd === 'gone') continue
    if (lockFd === undefined) {
      await pause(wait)
      continue
    }
    try {
      // Removed between the reading and the lock.
      if (userIds(volume) === undefined) continue
      addUser(volume, options.id)
      const kind = kindOf(record.options).kind
      if (kind === 'store') await fill(paths, mount, options)
      return placeOf(paths, mount, record)
    } finally {
      closeSync(lockFd)
    }
  }
}

/** An empty volume shows what the image has at its place, unless somebody looks into it already. */
async function fill(paths: EnginePaths, mount: KeptVolume, { id, layers, signal }: TakeOptions): Promise<void> {
  const volume = volumePath(paths, mount.volume)
  const fresh = isFresh(volume)
  const idle = (): boolean => usersOf(paths, mount.volume).every((user) => user === id || !isAlive(paths, user))
  if (mount.nocopy !== true && readdirSync(join(volume, DATA)).length === 0 && (fresh || idle())) {
    await copyUp(volume, { layers, target: mount.target, fresh, ...(signal === undefined ? {} : { signal }) })
  }
  if (fresh) endFreshness(volume)
}

/** Whether somebody runs it, or is about to. */
function isAlive(paths: EnginePaths, id: string): boolean {
  return isHeld(join(paths.containers, id))
}

function placeOf(paths: EnginePaths, mount: KeptVolume, record: VolumeRecord): Place {
  const { target, propagation, flags = [], readonly, chown } = mount
  const common = {
    target,
    ...(propagation === undefined ? {} : { propagation }),
    ...(chown === undefined ? {} : { chown }),
  }
  const kind = kindOf(record.options)
  switch (kind.kind) {
    case 'store':
      return {
        bind: { ...common, source: join(volumePath(paths, mount.volume), DATA), flags, readonly: readonly === true },
      }
    case 'bind':
      return {
        bind: {
          ...common,
          source: kind.device,
          flags: [...kind.flags, ...flags],
          readonly: readonly === true || kind.readonly,
        },
      }
    case 'tmpfs':
      return { memory: { target, options: [...kind.options, ...flags, ...(readonly === true ? ['ro'] : [])] } }
    default:
      return kind satisfies never
  }
}
