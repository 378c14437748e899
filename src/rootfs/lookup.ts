import { fstatSync, readlinkSync, readSync, type Stats } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { RESOLVE } from '../model/linux.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError } from '../syscall/errno.ts'
import { openFlags } from '../syscall/flags.ts'
import { closeFd } from '../syscall/process.ts'

const MAX_LINKS = 40
const WHITEOUT_TYPE = 0o020000

/**
 * Reads one file of a stack of layers without mounting it, as overlayfs would show it: upper layers first, whiteouts
 * and opaque directories honoured, links followed inside the stack only. Every name is opened below a descriptor of
 * its parent, so nothing in a layer can lead outside (CVE-2024-9676).
 *
 * @param layers directories, bottom to top
 * @param path absolute path in the container
 * @param maxBytes a larger file throws LIMIT_EXCEEDED
 * @returns undefined where there is no such regular file
 */
export function readInLayers(layers: readonly string[], path: string, maxBytes: number): Buffer | undefined {
  return readAllInLayers(layers, [path], maxBytes)[0]
}

/** The same of several files. */
export function readAllInLayers(
  layers: readonly string[],
  paths: readonly string[],
  maxBytes: number,
): (Buffer | undefined)[] {
  return withRoots(layers, (roots) => {
    const [top] = roots
    // A layer with nothing below it hides nothing: the kernel itself walks it as if it were the root.
    const isOnly = roots.length === 1 && top !== undefined
    return paths.map((path) => (isOnly ? readBelow(top, path, maxBytes) : readMerged(roots, path, maxBytes)))
  })
}

/** Descriptors of the layers, top to bottom, for as long as an action takes. */
function withRoots<T>(layers: readonly string[], action: (roots: readonly number[]) => T): T {
  const roots: number[] = []
  try {
    for (const layer of layers.toReversed())
      roots.push(openAt(AT_FDCWD, layer, openFlags.path | openFlags.directory, 0))
    return action(roots)
  } finally {
    for (const fd of roots) closeFd(fd)
  }
}

/**
 * The directories that overlayfs would merge into one, found in the same way: absolute, without links, bottom to top.
 * None where the path is no directory.
 */
export function directoriesInLayers(layers: readonly string[], path: string): string[] {
  return withRoots(layers, (roots) => {
    const found: string[] = []
    const place = resolve(roots, path, (directories) =>
      found.push(...directories.map((fd) => readlinkSync(`/proc/self/fd/${fd}`))),
    )
    if (place !== undefined) closeFd(place.parent)
    return found.toReversed()
  })
}

function readBelow(root: number, path: string, maxBytes: number): Buffer | undefined {
  const fd = tryOpenAt(root, path, openFlags.nonblock, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
  return fd === undefined ? undefined : readOpened(fd, path, maxBytes)
}

function readMerged(roots: readonly number[], path: string, maxBytes: number): Buffer | undefined {
  const found = resolve(roots, path)
  return found === undefined ? undefined : readRegular(found, path, maxBytes)
}

interface Found {
  readonly parent: number
  readonly name: string
}

function readRegular(found: Found, path: string, maxBytes: number): Buffer | undefined {
  try {
    // A fifo or device must not be waited for.
    const fd = openAt(
      found.parent,
      found.name,
      openFlags.nofollow | openFlags.nonblock,
      RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS,
    )
    return readOpened(fd, path, maxBytes)
  } finally {
    closeFd(found.parent)
  }
}

/** Closes the descriptor. */
function readOpened(fd: number, path: string, maxBytes: number): Buffer | undefined {
  try {
    const info = fstatSync(fd)
    if (!info.isFile()) return undefined
    if (info.size > maxBytes) {
      throw new TscrunError(
        'LIMIT_EXCEEDED',
        `read ${path} of the image: ${info.size} bytes, at most ${maxBytes} are taken`,
        { subject: path },
      )
    }
    const bytes = Buffer.alloc(info.size)
    let done = 0
    while (done < bytes.length) {
      const got = readSync(fd, bytes, done, bytes.length - done, done)
      if (got === 0) break
      done += got
    }
    return bytes.subarray(0, done)
  } finally {
    closeFd(fd)
  }
}

type OnDirectory = (parts: readonly number[]) => void

/**
 * Walks the merged tree; the answer's descriptor is the caller's to close. Of a directory its parts are told, from the top
 * layer down, which are open meanwhile.
 */
function resolve(roots: readonly number[], path: string, onDirectory?: OnDirectory): Found | undefined {
  let todo = collapse(path.split('/').filter((part) => part !== '' && part !== '.'))
  for (let links = 0; links <= MAX_LINKS; links++) {
    const step = walk(roots, todo, onDirectory)
    if (step === undefined || 'parent' in step) return step
    // A link: start again from the root with its target in place of its name.
    const target = step.target.split('/').filter((part) => part !== '' && part !== '.')
    todo = collapse([...(step.target.startsWith('/') ? [] : step.before), ...target, ...step.after])
  }
  return undefined
}

/** `..` above the root stays at the root. */
function collapse(parts: readonly string[]): string[] {
  const result: string[] = []
  for (const part of parts) {
    if (part === '..') result.pop()
    else result.push(part)
  }
  return result
}

interface Link {
  readonly target: string
  readonly before: readonly string[]
  readonly after: readonly string[]
}

function walk(roots: readonly number[], todo: readonly string[], onDirectory?: OnDirectory): Found | Link | undefined {
  const opened: number[] = []
  let directories = roots
  try {
    for (const [index, name] of todo.entries()) {
      const last = index === todo.length - 1
      const merged = look(directories, name, opened)
      if (merged === undefined) return undefined
      if (merged.kind === 'link')
        return { target: merged.target, before: todo.slice(0, index), after: todo.slice(index + 1) }
      if (merged.kind === 'file') {
        if (!last) return undefined
        const keep = opened.indexOf(merged.parent)
        if (keep >= 0) opened.splice(keep, 1)
        return { parent: keep >= 0 ? merged.parent : duplicate(merged.parent), name }
      }
      directories = merged.directories
    }
    onDirectory?.(directories)
    return undefined
  } finally {
    for (const fd of opened) closeFd(fd)
  }
}

type Merged =
  | { readonly kind: 'file'; readonly parent: number }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directories'; readonly directories: readonly number[] }

/** One name in a merged directory, whose parts are given from the top layer down. */
function look(directories: readonly number[], name: string, opened: number[]): Merged | undefined {
  const parts: number[] = []
  for (const parent of directories) {
    const fd = tryOpenAt(parent, name, openFlags.path | openFlags.nofollow, RESOLVE.BENEATH)
    if (fd === undefined) continue
    opened.push(fd)
    const info = fstatSync(fd)
    if (isWhiteout(info)) break
    if (info.isDirectory()) {
      parts.push(fd)
      if (isOpaque(fd)) break
    } else {
      if (parts.length > 0) break
      return info.isSymbolicLink() ? { kind: 'link', target: readLink(fd) } : { kind: 'file', parent }
    }
  }
  return parts.length === 0 ? undefined : { kind: 'directories', directories: parts }
}

function isWhiteout(info: Stats): boolean {
  return (info.mode & 0o170000) === WHITEOUT_TYPE && info.rdev === 0
}

const OPAQUE = 'trusted.overlay.opaque'

/** An O_PATH descriptor takes no fgetxattr: its name in /proc does. */
function isOpaque(fd: number): boolean {
  const value = Buffer.alloc(4)
  const got = trySyscall('lgetxattr', [cString(`/proc/self/fd/${fd}/.`), cString(OPAQUE), value, value.length])
  return got === 1 && value[0] === 0x79
}

function readLink(fd: number): string {
  const target = Buffer.alloc(4096)
  return target.toString('utf8', 0, syscall('readlinkat', [fd, cString(''), target, target.length]))
}

function duplicate(fd: number): number {
  return syscall('fcntl', [fd, 1030 /* F_DUPFD_CLOEXEC */, 3])
}

/** Of a device node without a driver (a whiteout is one) the last. */
const NO_FILE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO']

function tryOpenAt(dir: number, name: string, flags: number, resolveFlags: number): number | undefined {
  try {
    return openAt(dir, name, flags, resolveFlags)
  } catch (error) {
    if (error instanceof SyscallError && NO_FILE.includes(error.code)) return undefined
    throw error
  }
}

function openAt(dir: number, name: string, flags: number, resolveFlags: number): number {
  const how = Buffer.alloc(24)
  how.writeBigUInt64LE(BigInt(flags | openFlags.cloexec), 0)
  how.writeBigUInt64LE(BigInt(resolveFlags), 16)
  return syscall('openat2', [dir, cString(name), how, how.length], name)
}
