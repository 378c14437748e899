import * as fs from 'node:fs'
import { TscrunError, errnoOf } from '../../model/errors.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import { uniqueWord } from '../files.ts'
import type { ImageLocation, ImageSource, ImageTarget } from '../transport.ts'
import { dirTarget, ociDirectoryTarget } from './directories.ts'
import type { NamedFiles } from './members.ts'
import { chooseImage, dirSource, openLayoutDirectory, readImages, readOciLayout } from './read.ts'
import { openArchive } from './spool.ts'
import { createDockerArchive, createOciArchive, type ImageArchive } from './write.ts'

type PathLocation = ImageLocation & { readonly transport: Exclude<ImageLocation['transport'], 'docker'> }

/** `PATH[:NAME]`; the directory of `dir:` has no name behind it. */
function takeApart({ transport, rest }: PathLocation): { readonly path: string; readonly name: string | undefined } {
  const colon = transport === 'dir' ? -1 : rest.indexOf(':')
  if (colon < 0) return { path: rest, name: undefined }
  const name = rest.slice(colon + 1)
  return { path: rest.slice(0, colon), name: name === '' ? undefined : name }
}

/** An image in a directory or an archive, to be read. Throws USAGE, INVALID_IMAGE, NO_SUCH_IMAGE. */
export async function openPathSource(location: PathLocation, work: string): Promise<ImageSource> {
  const { path, name } = takeApart(location)
  const { transport } = location
  if (transport === 'dir') return dirSource(openLayoutDirectory(path))
  const files = transport === 'oci' ? openLayoutDirectory(path) : await openArchive(path, work, { where: path })
  try {
    const images = transport === 'docker-archive' ? await readImages(files) : readOciLayout(files)
    return withClose(chooseImage(images, name, path), files)
  } catch (error) {
    files.close()
    throw error
  }
}

function withClose(source: ImageSource, files: NamedFiles): ImageSource {
  return { ...source, close: async () => files.close() }
}

/** A place to write one image to. Throws USAGE. */
export function openPathTarget(location: PathLocation, work: string): ImageTarget {
  const { path, name } = takeApart(location)
  const { transport } = location
  switch (transport) {
    case 'dir':
      return dirTarget(path)
    case 'oci':
      return ociDirectoryTarget(path, name === undefined ? [] : [name])
    case 'oci-archive':
      return fileTarget(path, (take) => createOciArchive(take, path), name === undefined ? [] : [name])
    case 'docker-archive':
      return fileTarget(
        path,
        (take) => createDockerArchive(take, path, work),
        name === undefined ? [] : [formatReference(parseReference(name))],
      )
    default:
      return transport satisfies never
  }
}

/** An archive in a file that has its name only when it is whole. */
function fileTarget(
  path: string,
  create: (take: (chunk: Buffer) => Promise<void>) => ImageArchive,
  names: readonly string[],
): ImageTarget {
  const temporary = `${path}.${uniqueWord()}`
  const fd = openNew(temporary, path)
  let open = true
  const archive = create(async (chunk) => {
    for (let done = 0; done < chunk.length; ) {
      done += await new Promise<number>((resolve, reject) => {
        fs.write(fd, chunk, done, chunk.length - done, null, (error, count) => (error ? reject(error) : resolve(count)))
      })
    }
  })
  return {
    ...archive.target(names),
    finish: async () => {
      await archive.finish()
      fs.fsyncSync(fd)
      fs.renameSync(temporary, path)
    },
    close: async () => {
      if (!open) return
      open = false
      archive.abort()
      fs.closeSync(fd)
      fs.rmSync(temporary, { force: true })
    },
  }
}

function openNew(temporary: string, path: string): number {
  try {
    return fs.openSync(temporary, 'wx', 0o644)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new TscrunError('USAGE', `open ${path}: ${errno}`, { syscall: 'open', errno, subject: path, cause: error })
  }
}
