import type { Change } from '../../archive/changes.ts'
import { createTreeWriter } from '../../archive/member.ts'
import { joinNames, walkTree } from '../../archive/walk.ts'
import type { ArchiveWriter } from '../../archive/writer.ts'
import { setFrozen } from '../../cgroups/freeze.ts'
import { parseManifest } from '../../images/documents.ts'
import { makeLayer, type MadeLayer } from '../../images/make-layer.ts'
import { addNewImage, type NewImage, rawConfig } from '../../images/new-image.ts'
import { hostPlatform } from '../../images/host-platform.ts'
import type { ImageStore, StoredImage } from '../../images/store.ts'
import { TscrunError } from '../../model/errors.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import { changeImageConfig, type ImageConfigObject } from '../../spec/image-change.ts'
import { openBelow, statOf, unlessErrno } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Listener } from '../api.ts'
import { committedConfig } from './committed-config.ts'
import { openContainerRoot, ownersOf } from './container-root.ts'
import { findContainer } from '../state/containers-view.ts'
import { openUpper } from './diff.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { sweep } from '../state/sweep.ts'

export interface CommitOptions extends Listener {
  readonly author?: string
  readonly message?: string
  /** Instructions of a Dockerfile: `CMD ["sh"]`. */
  readonly changes?: readonly string[]
  /** Freeze a running container while its files are read; true by default. */
  readonly pause?: boolean
  /** All of its files as one layer. */
  readonly squash?: boolean
}

/** Makes an image of a container; resolves to the image's id. Without a name the image has none. */
export async function commitContainer(
  { paths, store }: { readonly paths: EnginePaths; readonly store: ImageStore },
  idOrName: string,
  name: string | undefined,
  options: CommitOptions,
): Promise<string> {
  const reference = name === undefined ? undefined : nameOf(name)
  await sweep(paths, 'live')
  const { record, status } = findContainer(paths, idOrName)
  // Before anything is frozen or written.
  for (const change of options.changes ?? []) changeImageConfig({}, change)
  using _hold = await store.hold(options.signal)
  const base = options.squash === true ? undefined : baseOf(store, record)
  const layer = await whileFrozen(record, status === 'running' && options.pause !== false, () =>
    base === undefined ? squashedLayer(paths, store, record, options) : changedLayer(paths, store, record, options),
  )
  const image = newImage(store, record, { base, layer, options })
  const stored = await addNewImage(store, image, {
    // What it is made of lies on the disk already.
    maxUnpackSize: 0,
    ...listenerOf(options),
    ...(reference === undefined ? {} : { name: reference }),
  })
  return stored.id
}

function listenerOf({ onWarning, signal }: Listener): Listener {
  return { ...(onWarning === undefined ? {} : { onWarning }), ...(signal === undefined ? {} : { signal }) }
}

/** A digest is what an image gets by itself. Throws INVALID_REFERENCE. */
function nameOf(text: string): string {
  const reference = parseReference(text)
  if (reference.digest === undefined) return formatReference(reference)
  throw new TscrunError(
    'INVALID_REFERENCE',
    `image name ${JSON.stringify(text)}: a name for a new image has no digest`,
    {
      subject: text,
    },
  )
}

function baseOf(
  store: ImageStore,
  record: ContainerRecord,
): { readonly image: StoredImage } & NonNullable<NewImage['base']> {
  const image = record.imageId === undefined ? undefined : store.find(record.imageId)
  if (image === undefined) {
    const reason =
      record.imageId === undefined ? 'its root filesystem is no image' : 'its image is no longer in the store'
    throw new TscrunError('CONTAINER_STATE', `commit ${record.name}: ${reason}`, {
      subject: record.name,
      hint: '--squash puts all of its files into one layer',
    })
  }
  const manifest = parseManifest(store.readBlob(image.manifest.digest), undefined, `manifest of ${record.image}`)
  if (!('config' in manifest)) throw new Error('a stored image without a manifest')
  return { image, manifest, raw: rawConfig(store.readBlob(image.id), `config of ${record.image}`) }
}

/** While its processes stand still, the files are those of one moment. */
async function whileFrozen<T>({ cgroup }: ContainerRecord, wanted: boolean, action: () => Promise<T>): Promise<T> {
  if (!wanted || cgroup === undefined) return action()
  await setFrozen(cgroup, true)
  try {
    return await action()
  } finally {
    await setFrozen(cgroup, false)
  }
}

async function changedLayer(
  paths: EnginePaths,
  store: ImageStore,
  record: ContainerRecord,
  options: CommitOptions,
): Promise<MadeLayer | undefined> {
  using upper = openUpper(paths, record, 'commit')
  const [{ fd }, changes] = [upper, upper.changes()]
  if (fd === undefined || changes.length === 0) return undefined
  return await makeLayer(store.paths, async (writer) => {
    const tree = createTreeWriter(writer, ownersOf(record))
    for (const change of changes) {
      options.signal?.throwIfAborted()
      await writeChange(change, { fd, writer, tree, options })
    }
  })
}

interface Writing {
  readonly fd: number
  readonly writer: ArchiveWriter
  readonly tree: ReturnType<typeof createTreeWriter>
  readonly options: CommitOptions
}

/** In a layer a name that begins like this hides another (image-spec layer.md). */
const WHITEOUT = Buffer.from('.wh.')

async function writeChange({ path, kind }: Change, { fd: root, writer, tree, options }: Writing): Promise<void> {
  const [parent, base] = [
    path.subarray(0, Math.max(0, path.lastIndexOf(0x2f))),
    path.subarray(path.lastIndexOf(0x2f) + 1),
  ]
  if (kind === 'deleted') {
    const name = joinNames(parent, Buffer.concat([WHITEOUT, base]))
    return writer.addBytes({ kind: 'file', name, mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n }, Buffer.alloc(0))
  }
  if (isMark(path)) {
    return options.onWarning?.(`/${path.toString()} is left out: in a layer such a name hides another file`)
  }
  // A container that was not frozen has removed it meanwhile.
  const fd = unlessErrno(['ENOENT', 'ENOTDIR', 'ELOOP'], () =>
    openBelow(root, path, openFlags.path | openFlags.nofollow),
  )
  if (fd === undefined) return
  try {
    await tree.add({ path, fd, stats: statOf(fd) }, path)
  } finally {
    closeFd(fd)
  }
}

function isMark(path: Buffer): boolean {
  return path.subarray(0, WHITEOUT.length).equals(WHITEOUT) || path.includes('/.wh.')
}

async function squashedLayer(
  paths: EnginePaths,
  store: ImageStore,
  record: ContainerRecord,
  options: CommitOptions,
): Promise<MadeLayer> {
  using root = await openContainerRoot(paths, record.id, { verb: 'commit', mounts: false })
  return await makeLayer(store.paths, async (writer) => {
    const tree = createTreeWriter(writer, root.owners)
    for (const found of walkTree(root.fd)) {
      options.signal?.throwIfAborted()
      if (isMark(found.path))
        options.onWarning?.(`/${found.path.toString()} is left out: in a layer it would hide a file`)
      else if (found.path.length > 0) await tree.add(found, found.path)
    }
  })
}

interface Parts {
  readonly base: ReturnType<typeof baseOf> | undefined
  readonly layer: MadeLayer | undefined
  readonly options: CommitOptions
}

function newImage(store: ImageStore, record: ContainerRecord, { base, layer, options }: Parts): NewImage {
  const from = base?.image ?? (record.imageId === undefined ? undefined : store.find(record.imageId))
  const raw: ImageConfigObject =
    base?.raw.config ??
    (from === undefined ? {} : rawConfig(store.readBlob(from.id), `config of ${record.image}`).config)
  const changed = (options.changes ?? []).reduce(changeImageConfig, committedConfig(raw, record, from))
  return {
    ...(base === undefined ? {} : { base }),
    ...(layer === undefined ? {} : { layer }),
    config: changed,
    platform: from?.config.platform ?? hostPlatform(),
    created: new Date().toISOString(),
    history: {
      created_by: (record.config.process?.args ?? []).join(' '),
      ...(options.author === undefined ? {} : { author: options.author }),
      ...(options.message === undefined ? {} : { comment: options.message }),
    },
  }
}
