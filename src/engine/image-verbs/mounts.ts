import * as fs from 'node:fs'
import { join } from 'node:path'
import { TEMPORARY_FILE, uniqueWord } from '../../images/files.ts'
import type { ImageStore, StoredImage } from '../../images/store.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { cString, syscall, trySyscall } from '../../syscall/call.ts'
import { errnoName, SyscallError } from '../../syscall/errno.ts'
import type { EnginePaths } from '../paths.ts'

/**
 * Images that are mounted for the host to look into: read-only, in the mount table of whoever asks, below the run
 * directory, so that a reboot leaves nothing. What is mounted there is asked of the kernel; nothing is written down.
 */
export interface MountedImage {
  /** `sha256:...` */
  readonly id: string
  /** Absolute directory. */
  readonly path: string
}

const [MS_RDONLY, MS_NOSUID, MS_NODEV] = [1, 2, 4]
const [MNT_DETACH, UMOUNT_NOFOLLOW] = [2, 8]
const EMPTY = 'empty'
const HEX = /^[0-9a-f]{64}$/

function mountsDirectory(paths: EnginePaths): string {
  return join(paths.runRoot, 'mounts')
}

/** Images that are mounted now, in the order in which that was done. */
export function mountedImages(paths: EnginePaths): readonly MountedImage[] {
  const directory = realPath(mountsDirectory(paths))
  if (directory === undefined) return []
  const found = new Map<string, MountedImage>()
  for (const line of fs.readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const path = unescapePath(line.split(' ')[4] ?? '')
    const name = path.slice(directory.length + 1)
    if (!path.startsWith(`${directory}/`) || !HEX.test(name)) continue
    found.set(name, { id: `sha256:${name}`, path: join(mountsDirectory(paths), name) })
  }
  return [...found.values()]
}

function realPath(path: string): string | undefined {
  try {
    return fs.realpathSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Blanks and the like stand there as `\040` (proc_pid_mountinfo(5)); bytes as latin1. */
function unescapePath(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
  return Buffer.from(bytes, 'latin1').toString()
}

/** Mounts an image's tree; one that is mounted already stays where it is. The caller holds the store. */
export function mountImage(paths: EnginePaths, store: ImageStore, image: StoredImage): MountedImage {
  const there = mountedImages(paths).find(({ id }) => id === image.id)
  if (there !== undefined) return there
  const path = join(mountsDirectory(paths), image.id.replace('sha256:', ''))
  fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  try {
    mountLayers(store, image, path)
  } catch (error) {
    fs.rmdirSync(path)
    throw cannotMount(error, image.id, path)
  }
  return { id: image.id, path }
}

/**
 * mount(2) takes one page of options: the layers get names of one number in a directory, and the call is made from there.
 * A single layer needs a second one below it, which is empty.
 */
function mountLayers(store: ImageStore, { layers }: StoredImage, path: string): void {
  const names = join(store.paths.work, `${TEMPORARY_FILE}${uniqueWord()}`)
  fs.mkdirSync(names, { mode: 0o700 })
  const here = fs.openSync('.', fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  const there = fs.openSync(names, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  try {
    // It must stay: a directory that has been removed cannot be read, and then nor can what it is merged with.
    const empty = join(path, '..', EMPTY)
    fs.mkdirSync(empty, { recursive: true, mode: 0o755 })
    const stack = [...layers.toReversed(), ...(layers.length < 2 ? [empty, empty] : [])].slice(
      0,
      Math.max(2, layers.length),
    )
    for (const [index, layer] of stack.entries()) fs.symlinkSync(layer, join(names, String(index)))
    const options = cString(`lowerdir=${stack.map((_, index) => index).join(':')}`)
    const flags = MS_RDONLY | MS_NOSUID | MS_NODEV
    syscall('fchdir', [there])
    try {
      syscall('mount', [cString('tscrun'), cString(path), cString('overlay'), flags, options], path)
    } finally {
      syscall('fchdir', [here])
    }
  } finally {
    for (const fd of [here, there]) fs.closeSync(fd)
    fs.rmSync(names, { recursive: true })
  }
}

function cannotMount(error: unknown, id: string, path: string): unknown {
  if (!(error instanceof SyscallError)) return error
  const rootless = error.code === 'EPERM'
  return new TscrunError(
    rootless ? 'PERMISSION_DENIED' : 'KERNEL_REFUSED',
    `mount image ${id} on ${path}: ${error.code}`,
    {
      syscall: 'mount',
      errno: error.code,
      subject: path,
      hint: rootless
        ? 'use sudo'
        : 'the store may lie on an overlay, which takes no second one: `tscrun info` names its filesystem',
      cause: error,
    },
  )
}

/** Takes a mounted image off. Throws IMAGE_IN_USE where somebody works in it, unless `force`. False where it was not mounted. */
export function unmountImage(paths: EnginePaths, id: string, { force }: { readonly force: boolean }): boolean {
  const mounted = mountedImages(paths).find((one) => one.id === id)
  if (mounted === undefined) return false
  const result = trySyscall('umount2', [cString(mounted.path), UMOUNT_NOFOLLOW | (force ? MNT_DETACH : 0)])
  if (result < 0 && errnoName(-result) === 'EBUSY') {
    throw new TscrunError('IMAGE_IN_USE', `unmount ${mounted.path}: EBUSY`, {
      errno: 'EBUSY',
      subject: mounted.path,
      hint: 'a process works in it (fuser -m names it); --force takes it off all the same',
    })
  }
  if (result < 0) throw new SyscallError('umount2', -result, mounted.path)
  fs.rmdirSync(mounted.path)
  return true
}

/** Directories of mounts that a reboot has taken. */
export function lostMountPoints(paths: EnginePaths): readonly string[] {
  const mounted = new Set(mountedImages(paths).map(({ path }) => path))
  const directory = mountsDirectory(paths)
  if (!fs.existsSync(directory)) return []
  return fs
    .readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => !mounted.has(path) && !path.endsWith(`/${EMPTY}`))
}
