import * as fs from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { parentOf } from '../extractor/names.ts'
import { createTarParser, type TarEntry } from '../extractor/tar.ts'

/** Files by name, of a directory or of an archive; names are parted by slashes and never leave it. */
export interface NamedFiles {
  /** For messages. */
  readonly name: string
  /** Bytes of a regular file, undefined where there is none of this name. */
  size(name: string): number | undefined
  /** Throws INVALID_IMAGE where there is none, LIMIT_EXCEEDED where it is longer. */
  read(name: string, maxBytes: number): Buffer
  /** From an offset on. Throws INVALID_IMAGE where there is none. */
  stream(name: string, offset: number): AsyncIterable<Buffer>
  close(): void
}

interface Member {
  readonly offset: number
  readonly size: number
}

/** No honest archive of images has more: a layer is one member. */
const MAX_MEMBERS = 100_000
const CHUNK = 1 << 20
const MAX_LINKS = 10

/** Where the members of an uncompressed tar lie. Of two with one name the last counts. Throws INVALID_IMAGE. */
export function openArchiveFiles(path: string, name: string): NamedFiles {
  return openArchiveFd(fs.openSync(path, fs.constants.O_RDONLY), name)
}

/** The same of an open file, which is closed with it. */
export function openArchiveFd(fd: number, name: string): NamedFiles {
  try {
    return archiveFiles(fd, name, indexMembers(fd, name))
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

interface Index {
  readonly files: ReadonlyMap<string, Member>
  readonly links: ReadonlyMap<string, string>
}

function indexMembers(fd: number, where: string): Index {
  const files = new Map<string, Member>()
  const links = new Map<string, string>()
  let [fed, current]: [number, { readonly name: string; readonly size: number } | undefined] = [0, undefined]
  const add = (entry: TarEntry): void => {
    current = undefined
    const name = plainName(entry.name)
    if (files.size + links.size >= MAX_MEMBERS) {
      throw new TscrunError('LIMIT_EXCEEDED', `${where}: more than ${MAX_MEMBERS} members`)
    }
    // One that leads out of the archive is nobody's: it is found under no name.
    if (name === undefined || entry.type === 'directory') return
    files.delete(name)
    links.delete(name)
    const { linkName } = entry
    if (entry.type === 'symlink')
      links.set(name, Buffer.concat([parentOf(entry.name), Buffer.from('/'), linkName]).toString())
    else if (entry.type === 'link') links.set(name, linkName.toString())
    else if (entry.type === 'file' && entry.sparse === undefined) {
      files.set(name, { offset: 0, size: entry.size })
      current = { name, size: entry.size }
    }
  }
  const parser = createTarParser({
    entry: add,
    data: (_chunk, start, _end, position) => {
      if (position === 0 && current !== undefined) files.set(current.name, { offset: fed + start, size: current.size })
    },
    endOfFile: () => undefined,
  })
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK)
      const size = fs.readSync(fd, chunk, 0, CHUNK, fed)
      if (size === 0) break
      parser.write(chunk.subarray(0, size))
      fed += size
    }
    parser.end()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    throw new TscrunError(error.code, error.message.replace(/^(?:layer archive|unpack layer)/, where), { cause: error })
  }
  return { files, links }
}

/** Without dots and doubled slashes; undefined for one that would leave the archive. */
function plainName(bytes: Uint8Array | string): string | undefined {
  const kept: string[] = []
  for (const part of Buffer.from(bytes).toString().split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') kept.push(part)
    else if (kept.pop() === undefined) return undefined
  }
  return kept.join('/')
}

function archiveFiles(fd: number, where: string, { files, links }: Index): NamedFiles {
  const find = (asked: string): Member | undefined => {
    let name = plainName(asked)
    for (let hops = 0; name !== undefined && hops < MAX_LINKS; hops++) {
      const member = files.get(name)
      if (member !== undefined) return member
      const link = links.get(name)
      name = link === undefined ? undefined : plainName(link)
    }
    return undefined
  }
  const need = (name: string): Member => {
    const member = find(name)
    if (member !== undefined) return member
    throw missing(where, name)
  }
  return {
    name: where,
    size: (name) => find(name)?.size,
    read: (name, maxBytes) => {
      const { offset, size } = need(name)
      checkSize(where, name, size, maxBytes)
      const bytes = Buffer.alloc(size)
      let done = 0
      while (done < size) {
        const got = fs.readSync(fd, bytes, done, size - done, offset + done)
        if (got === 0) throw new TscrunError('INVALID_IMAGE', `${where}: it is cut off`)
        done += got
      }
      return bytes
    },
    stream: (name, from) => {
      const { offset, size } = need(name)
      return readRange(fd, offset + from, size - from)
    },
    close: () => fs.closeSync(fd),
  }
}

async function* readRange(fd: number, offset: number, size: number): AsyncGenerator<Buffer> {
  for (let done = 0; done < size; ) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, size - done))
    const got = await new Promise<number>((resolve, reject) => {
      fs.read(fd, chunk, 0, chunk.length, offset + done, (error, count) => (error ? reject(error) : resolve(count)))
    })
    if (got === 0) return
    done += got
    yield chunk.subarray(0, got)
  }
}

function missing(where: string, name: string): TscrunError {
  return new TscrunError('INVALID_IMAGE', `${where}: it has no ${JSON.stringify(name.slice(0, 200))}`, {
    subject: where,
  })
}

function checkSize(where: string, name: string, size: number, maxBytes: number): void {
  if (size <= maxBytes) return
  throw new TscrunError(
    'LIMIT_EXCEEDED',
    `${where}: ${name} has ${size} bytes, more than the ${maxBytes} that are taken`,
  )
}

/** Nothing by that name, or nothing that has bytes. */
const NO_FILE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'ENODEV'])

/** The regular files of a directory. */
export function openDirectoryFiles(directory: string): NamedFiles {
  const open = (name: string): { readonly fd: number; readonly size: number } | undefined => {
    const plain = plainName(name)
    if (plain === undefined) return undefined
    const { O_RDONLY, O_NONBLOCK } = fs.constants
    let fd: number
    try {
      fd = fs.openSync(`${directory}/${plain}`, O_RDONLY | O_NONBLOCK)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === undefined) throw error
      if (NO_FILE.has(errno)) return undefined
      const subject = `${directory}/${plain}`
      throw new TscrunError('USAGE', `open ${subject}: ${errno}`, { syscall: 'open', errno, subject, cause: error })
    }
    const stats = fs.fstatSync(fd)
    if (stats.isFile()) return { fd, size: stats.size }
    fs.closeSync(fd)
    return undefined
  }
  return {
    name: directory,
    size: (name) => {
      const found = open(name)
      if (found !== undefined) fs.closeSync(found.fd)
      return found?.size
    },
    read: (name, maxBytes) => {
      const found = open(name)
      if (found === undefined) throw missing(directory, name)
      try {
        checkSize(directory, name, found.size, maxBytes)
        return fs.readFileSync(found.fd)
      } finally {
        fs.closeSync(found.fd)
      }
    },
    stream: async function* (name, offset) {
      const found = open(name)
      if (found === undefined) throw missing(directory, name)
      try {
        yield* readRange(found.fd, offset, found.size - offset)
      } finally {
        fs.closeSync(found.fd)
      }
    },
    close: () => undefined,
  }
}
