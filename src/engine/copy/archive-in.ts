import { compressionOf, createDecompressor } from '../../images/extractor/decompress.ts'
import { baseOf, cleanName, parentOf, show } from '../../images/extractor/names.ts'
import { createTarParser, type TarEntry, type TarHandler } from '../../images/extractor/tar.ts'
import { TscrunError } from '../../model/errors.ts'
import { openBelow, statOf, unlessErrno } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Placer, Wanted } from './place.ts'
import { pathError, type Side } from './side.ts'
import { writeAll } from './tree.ts'
import { ftruncateSync } from 'node:fs'

export interface ArchiveIn {
  readonly side: Side
  /** The directory as it was typed: names of members are looked up behind it, links and all, inside the root. */
  readonly path: string
  readonly placer: Placer
  readonly archive: boolean
  readonly signal: AbortSignal | undefined
  readonly onWarning: ((line: string) => void) | undefined
}

/** Most that an archive may unpack to, as of a layer. */
const MAX_BYTES = 2 ** 40

/** Makes the members of a tar archive (plain, gzip or zstd) below a directory that is there. Throws INVALID_IMAGE. */
export async function copyFromArchive(chunks: AsyncIterable<Uint8Array>, into: ArchiveIn): Promise<void> {
  const unpacker = createUnpacker(into)
  const parser = createTarParser(unpacker.handler)
  let start = Buffer.alloc(0)
  let decompressor: ReturnType<typeof createDecompressor> | undefined
  let total = 0
  const onTar = (chunk: Buffer): void => {
    total += chunk.length
    if (total > MAX_BYTES) throw new TscrunError('LIMIT_EXCEEDED', `cp: an archive of more than ${MAX_BYTES} bytes`)
    parser.write(chunk)
  }
  try {
    for await (const piece of chunks) {
      into.signal?.throwIfAborted()
      const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
      if (decompressor !== undefined) await decompressor.write(chunk)
      else {
        start = Buffer.concat([start, chunk])
        if (start.length < 8) continue
        decompressor = createDecompressor(compressionOf(start), onTar)
        await decompressor.write(start)
      }
    }
    decompressor ??= createDecompressor('none', onTar)
    if (start.length < 8) onTar(start)
    await decompressor.end()
    parser.end()
    unpacker.finish()
  } catch (error) {
    throw worded(pathError(into.side.prefix, unpacker.current(), error))
  } finally {
    unpacker.close()
  }
}

/** The parser speaks of layers. */
function worded(error: unknown): unknown {
  if (!(error instanceof TscrunError) || error.code !== 'INVALID_IMAGE') return error
  const message = error.message.replace(/^(?:layer archive|unpack layer): /, 'cp: the archive: ')
  return new TscrunError('INVALID_IMAGE', message, { cause: error })
}

interface Unpacker {
  readonly handler: TarHandler
  /** Times and modes of directories, when nothing is put into them any more. */
  finish(): void
  close(): void
  current(): string
}

const THERE = openFlags.path | openFlags.directory

function createUnpacker({ side, path, placer, archive, onWarning }: ArchiveIn): Unpacker {
  const directories: { readonly name: Buffer; readonly wanted: Wanted }[] = []
  let at = Buffer.alloc(0) as Buffer
  let fd = -1
  let entry: TarEntry | undefined

  const inside = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${path}/`), name])

  /** The directory a member goes into, with those above it that nobody has told of. */
  function parent(name: Buffer): number {
    const directory = parentOf(name)
    const there = unlessErrno(['ENOENT'], () => side.open(inside(directory), THERE))
    if (there !== undefined) return there
    const above = parent(directory)
    try {
      const made = placer.directory(above, baseOf(directory))
      if (made.made) placer.finishDirectory(made.fd, { mode: 0o755, mtimeNs: BigInt(Date.now()) * 1_000_000n })
      return made.fd
    } finally {
      closeFd(above)
    }
  }

  function wantedOf(member: TarEntry): Wanted {
    const { seconds, nanoseconds } = member.mtime
    const wanted = { mode: member.mode, mtimeNs: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds) }
    if (!archive) return wanted
    return { ...wanted, owner: { uid: member.uid, gid: member.gid }, xattrs: member.xattrs }
  }

  function make(member: TarEntry): void {
    const name = cleanName(member.name)
    at = name
    if (name.length === 0) return
    const dir = parent(name)
    try {
      makeIn(dir, baseOf(name), name, member)
    } finally {
      closeFd(dir)
    }
  }

  function makeIn(dir: number, base: Buffer, name: Buffer, member: TarEntry): void {
    const { type } = member
    switch (type) {
      case 'directory': {
        const { fd: made } = placer.directory(dir, base)
        closeFd(made)
        directories.push({ name, wanted: wantedOf(member) })
        return
      }
      case 'file':
        fd = placer.file(dir, base)
        entry = member
        return
      case 'symlink':
        return placer.link(dir, base, member.linkName, wantedOf(member))
      case 'link':
        return hardLink(dir, base, cleanName(member.linkName))
      case 'char':
      case 'block':
      case 'fifo':
        if (!archive)
          return onWarning?.(`${name.toString()} is left out, it is a device or a fifo: --archive copies it`)
        return placer.node(dir, base, type, deviceOf(member), wantedOf(member))
      default:
        return type satisfies never
    }
  }

  function hardLink(dir: number, base: Buffer, target: Buffer): void {
    const above = side.open(inside(parentOf(target)), THERE)
    try {
      const there = openBelow(above, baseOf(target), openFlags.path | openFlags.nofollow)
      try {
        if (statOf(there).isDirectory()) throw new TscrunError('INVALID_IMAGE', `cp: ${show(target)} is a directory`)
        placer.hardLink(there, dir, base)
      } finally {
        closeFd(there)
      }
    } finally {
      closeFd(above)
    }
  }

  return {
    handler: {
      entry: make,
      data: (chunk, start, end, position) => {
        if (fd >= 0) writeAll(fd, chunk.subarray(start, end), position)
      },
      endOfFile: () => {
        if (fd < 0 || entry === undefined) return
        if (entry.sparse !== undefined) ftruncateSync(fd, entry.size)
        placer.finishFile(fd, wantedOf(entry))
        closeFd(fd)
        fd = -1
        entry = undefined
      },
    },
    finish: () => {
      for (const { name, wanted } of directories.toReversed()) {
        at = name
        const made = unlessErrno(['ENOENT', 'ENOTDIR'], () => side.open(inside(name), THERE))
        if (made === undefined) continue
        try {
          placer.finishDirectory(made, wanted)
        } finally {
          closeFd(made)
        }
      }
    },
    close: () => {
      if (fd >= 0) closeFd(fd)
    },
    current: () => `${path.replace(/\/$/, '')}/${at.toString()}`,
  }
}

/** A device number as stat(2) tells it (makedev(3)). */
function deviceOf({ major, minor }: TarEntry): bigint {
  return (BigInt(minor) & 0xffn) | (BigInt(major) << 8n) | ((BigInt(minor) & ~0xffn) << 12n)
}
