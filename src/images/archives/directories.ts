import * as fs from 'node:fs'
import { join } from 'node:path'
import { type Digest, hexOf } from '../../model/digest.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { LIMITS } from '../documents.ts'
import { readIfThere, syncDirectory, uniqueWord } from '../files.ts'
import * as json from '../json.ts'
import type { ImageTarget } from '../transport.ts'
import { indexEntries, indexJson, OCI_LAYOUT } from './write.ts'

/** Writes a file under another name first, so that what has its name is whole. */
async function writeWhole(path: string, chunks: AsyncIterable<Buffer> | readonly Buffer[]): Promise<void> {
  const temporary = `${path}.${uniqueWord()}`
  const file = await fs.promises.open(temporary, 'wx', 0o644)
  try {
    try {
      for await (const chunk of chunks) await file.writeFile(chunk)
      await file.datasync()
    } finally {
      await file.close()
    }
    fs.renameSync(temporary, path)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
}

function makeDirectory(path: string): void {
  try {
    fs.mkdirSync(path, { recursive: true })
  } catch (error) {
    const errno = errnoOf(error) ?? 'refused'
    throw new TscrunError('USAGE', `mkdir ${path}: ${errno}`, { errno, subject: path, cause: error })
  }
}

/** An OCI layout in a directory, which may hold other images: those of the same names give way. */
export function ociDirectoryTarget(directory: string, names: readonly string[]): ImageTarget {
  const blobs = join(directory, 'blobs', 'sha256')
  const place = (digest: Digest): string => join(blobs, hexOf(digest))
  let added: readonly object[] = []
  makeDirectory(blobs)
  return {
    name: directory,
    takesIndex: true,
    hasBlob: async ({ digest, size }) => fs.statSync(place(digest), { throwIfNoEntry: false })?.size === size,
    putBlob: async ({ digest }, content) => {
      await writeWhole(place(digest), content(0))
      return 'copied'
    },
    putDocument: async ({ bytes, mediaType, digest }, isTop) => {
      await writeWhole(place(digest), [bytes])
      if (isTop) added = indexEntries({ mediaType: mediaType ?? '', digest, size: bytes.length }, names)
    },
    finish: async () => {
      await writeWhole(join(directory, 'oci-layout'), [Buffer.from(OCI_LAYOUT)])
      const index = join(directory, 'index.json')
      await writeWhole(index, [Buffer.from(indexJson([...othersIn(index, names, added), ...added]))])
      syncDirectory(directory)
    },
    close: async () => undefined,
  }
}

const REF_NAME = 'org.opencontainers.image.ref.name'

function othersIn(index: string, names: readonly string[], added: readonly object[]): readonly unknown[] {
  const bytes = readIfThere(index)
  if (bytes === undefined) return []
  const document = json.parseJsonObject(bytes, index, LIMITS.manifest)
  const digests = new Set(added.map((entry) => (entry as { digest: string }).digest))
  return json.list(document, 'manifests', index, LIMITS.descriptors).filter((item) => {
    const entry = json.asObject(item, index)
    const name = json.stringMap(entry, 'annotations', index).get(REF_NAME)
    return name === undefined ? !digests.has(String(json.get(entry, 'digest'))) : !names.includes(name)
  })
}

const DIR_VERSION = 'Directory Transport Version: 1.1\n'

/** skopeo's `dir:`, for one image of one platform; the directory must be empty or one of that kind. */
export function dirTarget(directory: string): ImageTarget {
  makeDirectory(directory)
  const there = fs.readdirSync(directory)
  if (there.length > 0 && !there.includes('version')) {
    throw new TscrunError('USAGE', `write to ${directory}: it is not empty, and no directory of an image`, {
      subject: directory,
    })
  }
  for (const name of there) if (/^(?:[0-9a-f]{64}|manifest\.json)$/.test(name)) fs.rmSync(join(directory, name))
  return {
    name: directory,
    takesIndex: false,
    hasBlob: async () => false,
    putBlob: async ({ digest }, content) => {
      await writeWhole(join(directory, hexOf(digest)), content(0))
      return 'copied'
    },
    putDocument: async ({ bytes }) => writeWhole(join(directory, 'manifest.json'), [bytes]),
    finish: async () => writeWhole(join(directory, 'version'), [Buffer.from(DIR_VERSION)]),
    close: async () => undefined,
  }
}
