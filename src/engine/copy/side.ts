import { SAME_OWNERS, outsideId, type Owners } from '../../archive/owners.ts'
import { errnoOf, type ErrorCode, TscrunError } from '../../model/errors.ts'
import { openInRoot, openOnHost } from '../../syscall/at.ts'
import { SyscallError } from '../../syscall/errno.ts'
import { readlinkSync } from 'node:fs'
import { type ContainerRoot, openContainerRoot } from '../tree/container-root.ts'
import type { EnginePaths } from '../paths.ts'

/** A path on this machine, or in a container. */
export type CopyEnd =
  | { readonly path: string; readonly container?: undefined }
  | { readonly path: string; readonly container: string }

/** One side of a copy. */
export interface Side extends Disposable {
  /** Before a path in messages: `web:`, nothing for the host. */
  readonly prefix: string
  readonly owners: Owners
  /** The host's ids of what is made here without a wish for another owner. */
  readonly newOwner: { readonly uid: number; readonly gid: number }
  /** What a path is: its links are followed, a container's inside its root alone. Throws SyscallError. */
  open(path: string | Uint8Array, flags: number): number
  /** Refuses what a container that does not run shows otherwise than one that runs. Throws CONTAINER_STATE. */
  check(fd: number): void
  /** It is written to, and may be. Throws CONTAINER_STATE. */
  requireWritable(): void
}

export async function openSide(paths: EnginePaths, end: CopyEnd): Promise<Side> {
  if (end.container === undefined) return hostSide()
  return containerSide(end.container, await openContainerRoot(paths, end.container, { verb: 'cp', mounts: true }))
}

function hostSide(): Side {
  const nothing = (): void => undefined
  return {
    prefix: '',
    owners: SAME_OWNERS,
    newOwner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
    open: (path, flags) => openOnHost(path, flags),
    check: nothing,
    requireWritable: nothing,
    [Symbol.dispose]: nothing,
  }
}

function containerSide(name: string, root: ContainerRoot): Side {
  const { config } = root.record
  const volumes = (config.mounts ?? [])
    .filter(({ type }) => type === 'bind' || type === 'tmpfs')
    .map(({ destination }) => destination)
  return {
    prefix: `${name}:`,
    owners: root.owners,
    newOwner: { uid: outsideId(root.owners.uids, 0) ?? 0, gid: outsideId(root.owners.gids, 0) ?? 0 },
    open: (path, flags) => openInRoot(root.fd, path.length === 0 ? '/' : path, flags),
    check: (fd) => {
      if (root.running) return
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      const volume = volumes.find((place) => path === place || path.startsWith(`${place.replace(/\/$/, '')}/`))
      if (volume === undefined) return
      throw new TscrunError('CONTAINER_STATE', `cp ${name}:${path}: ${volume} is mounted only while it runs`, {
        subject: name,
        hint: `start it first, or copy from or to what is mounted there`,
      })
    },
    requireWritable: () => {
      if (root.running || config.root?.readonly !== true) return
      throw new TscrunError('CONTAINER_STATE', `cp to ${name}: its root filesystem is read-only`, { subject: name })
    },
    [Symbol.dispose]: () => root[Symbol.dispose](),
  }
}

const REASONS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ['NO_SUCH_FILE', 'there is no such file or directory'],
  ENOTDIR: ['NO_SUCH_FILE', 'a part of it is no directory'],
  ELOOP: ['NO_SUCH_FILE', 'its links lead in a circle'],
  EACCES: ['PERMISSION_DENIED', 'permission denied'],
  EPERM: ['PERMISSION_DENIED', 'not permitted'],
  EROFS: ['CONTAINER_STATE', 'it is read-only there'],
  ENOSPC: ['NO_SPACE', 'no space is left there'],
  EDQUOT: ['NO_SPACE', 'the quota is used up'],
  EBUSY: ['CONTAINER_STATE', 'something is mounted there'],
}

/** The sentence for what the kernel refused about one path of a side. */
export function pathError(prefix: string, path: string, error: unknown): unknown {
  if (error instanceof TscrunError || !(error instanceof Error)) return error
  const errno = errnoOf(error)
  if (errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) return error
  const [code, reason] = REASONS[errno] ?? ['KERNEL_REFUSED', error instanceof SyscallError ? error.syscall : 'refused']
  const subject = `${prefix}${path}`
  return new TscrunError(code, `cp ${subject}: ${reason} (${errno})`, { errno, subject, cause: error })
}
