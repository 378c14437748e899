import type * as fs from 'node:fs'
import { TscrunError } from '../../model/errors.ts'
import { linkText, statOf, unlessErrno } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import { pathError, type Side } from './side.ts'

/** What is copied; the descriptor is O_PATH and the caller's to close. */
export interface Source {
  readonly fd: number
  readonly stats: fs.BigIntStats
  /** The name it has, where it goes into a directory. */
  readonly base: Buffer
  /** Of a directory its content alone: the path ends with `/.`. */
  readonly contents: boolean
}

/** Where it goes: a directory, O_PATH and the caller's to close, and the name in it; without one into the directory. */
export interface Target {
  readonly dir: number
  readonly name: Buffer | undefined
}

const { path: O_PATH, nofollow: O_NOFOLLOW, directory: O_DIRECTORY } = openFlags
/** As the kernel has it. */
const MAX_LINKS = 40

/** docker's rules: a link at the end is copied as one, unless `follow`, a slash behind it, or `/.`. */
export function openSource(side: Side, path: string, follow: boolean): Source {
  const contents = /(?:^|\/)\.{0,2}\/*$/.test(path) && !/[^/.]\/+$/.test(path)
  const flags = O_PATH | (follow || contents || path.endsWith('/') ? 0 : O_NOFOLLOW)
  return at(side, path, () => {
    const fd = side.open(path === '' ? '.' : path, flags)
    try {
      side.check(fd)
      const stats = statOf(fd)
      return { fd, stats, base: Buffer.from(baseName(path)), contents: contents && stats.isDirectory() }
    } catch (error) {
      closeFd(fd)
      throw error
    }
  })
}

function baseName(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1) ?? ''
}

/** Where a source goes that was given this path. Throws NO_SUCH_FILE where there is no directory for it. */
export function openTarget(
  side: Side,
  path: string,
  source: Pick<Source, 'base' | 'contents'> & { directory: boolean },
): Target {
  return at(side, path, () => {
    const there = unlessErrno(['ENOENT'], () => side.open(path === '' ? '.' : path, O_PATH))
    if (there === undefined) return besideNothing(side, path, source.directory)
    const stats = statOf(there)
    if (stats.isDirectory()) {
      side.check(there)
      return { dir: there, name: source.contents ? undefined : source.base }
    }
    closeFd(there)
    if (source.directory) {
      throw new TscrunError('USAGE', `cp to ${side.prefix}${path}: a directory cannot become a file`, {
        subject: `${side.prefix}${path}`,
        hint: 'remove the file first, or name another place',
      })
    }
    return behindLinks(side, path)
  })
}

/** A name that is not there yet, in a directory that is; only a directory may be written with a slash behind it. */
function besideNothing(side: Side, path: string, directory: boolean): Target {
  const bare = path.replace(/(?:\/+\.?)+$/, '')
  if (bare !== path && !directory) {
    throw new TscrunError('NO_SUCH_FILE', `cp to ${side.prefix}${path}: there is no such directory`, {
      subject: `${side.prefix}${path}`,
      hint: 'make it first, or leave the slash out to give the file this name',
    })
  }
  return behindLinks(side, bare)
}

/** The directory and the name that a path stands for; what is a link is where it leads to, be there something or not. */
function behindLinks(side: Side, path: string): Target {
  let rest: Buffer = Buffer.from(path)
  for (let links = 0; links < MAX_LINKS; links++) {
    const slash = rest.lastIndexOf(0x2f)
    const parent = slash < 0 ? Buffer.from('.') : rest.subarray(0, slash + 1)
    const name = rest.subarray(slash + 1)
    const dir = side.open(parent, O_PATH | O_DIRECTORY)
    const text = unlessErrno(['ENOENT'], () => linkAt(side, rest))
    if (text === undefined) {
      side.check(dir)
      return { dir, name }
    }
    closeFd(dir)
    rest = text[0] === 0x2f ? text : Buffer.concat([parent, Buffer.from(slash < 0 ? '/' : ''), text])
  }
  throw new TscrunError('NO_SUCH_FILE', `cp to ${side.prefix}${path}: its links lead in a circle`, { subject: path })
}

function linkAt(side: Side, path: Buffer): Buffer | undefined {
  const fd = side.open(path, O_PATH | O_NOFOLLOW)
  try {
    return statOf(fd).isSymbolicLink() ? Buffer.from(linkText(fd)) : undefined
  } finally {
    closeFd(fd)
  }
}

function at<T>(side: Side, path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw pathError(side.prefix, path, error)
  }
}
