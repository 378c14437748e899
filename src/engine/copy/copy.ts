import { TscrunError } from '../../model/errors.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Listener } from '../api.ts'
import type { ArchiveSink } from '../tree/export.ts'
import type { EnginePaths } from '../paths.ts'
import { copyFromArchive } from './archive-in.ts'
import { copyToArchive } from './archive-out.ts'
import { createPlacer } from './place.ts'
import { openSource, openTarget } from './resolve.ts'
import { type CopyEnd, openSide, type Side } from './side.ts'
import { copyTree } from './tree.ts'

export type { CopyEnd } from './side.ts'

export interface CopyOptions extends Pick<Listener, 'onWarning' | 'signal'> {
  /** Keep owners by number, set-id bits, attributes, device nodes and fifos; else they are the new place's own. */
  readonly archive?: boolean
  /** Of a source that is a link copy what it leads to. */
  readonly followLink?: boolean
  /** A directory may take the place of a file, and a file that of a directory. */
  readonly overwrite?: boolean
}

/** Copies between this machine and a container, or two containers, by docker's rules for paths. */
export async function copyFiles(paths: EnginePaths, from: CopyEnd, to: CopyEnd, options: CopyOptions): Promise<void> {
  using source = await openSide(paths, from)
  using target = await sideOf(paths, to, { of: from, side: source })
  target.requireWritable()
  const found = openSource(source, from.path, options.followLink === true)
  try {
    const place = openTarget(target, to.path, { ...found, directory: found.stats.isDirectory() })
    try {
      const { archive = false, overwrite = false, signal, onWarning } = options
      const placer = createPlacer(target, { archive, overwrite })
      await copyTree(found, place, { from: source, placer, archive, signal, onWarning })
    } finally {
      closeFd(place.dir)
    }
  } finally {
    closeFd(found.fd)
  }
}

/** Within one container that does not run there is one overlay, and one lock. */
async function sideOf(
  paths: EnginePaths,
  to: CopyEnd,
  other: { readonly of: CopyEnd; readonly side: Side },
): Promise<Side> {
  if (to.container === undefined || to.container !== other.of.container) return openSide(paths, to)
  return { ...other.side, [Symbol.dispose]: () => undefined }
}

/** Gives what a path in a container is to `sink` as a tar archive. */
export async function copyOutArchive(
  paths: EnginePaths,
  from: CopyEnd,
  sink: ArchiveSink,
  options: CopyOptions,
): Promise<void> {
  using side = await openSide(paths, from)
  const source = openSource(side, from.path, options.followLink === true)
  try {
    await copyToArchive(side, source, sink, { signal: options.signal, onWarning: options.onWarning })
  } finally {
    closeFd(source.fd)
  }
}

/** Unpacks a tar archive below a directory of a container. Throws USAGE where it is no directory. */
export async function copyInArchive(
  paths: EnginePaths,
  chunks: AsyncIterable<Uint8Array>,
  to: CopyEnd,
  options: CopyOptions,
): Promise<void> {
  using side = await openSide(paths, to)
  side.requireWritable()
  const target = openSource(side, to.path, true)
  closeFd(target.fd)
  if (!target.stats.isDirectory()) {
    throw new TscrunError('USAGE', `cp to ${side.prefix}${to.path}: an archive needs a directory to go into`, {
      subject: to.path,
    })
  }
  const { archive = false, overwrite = false, signal, onWarning } = options
  const placer = createPlacer(side, { archive, overwrite })
  await copyFromArchive(chunks, { side, path: to.path, placer, archive, signal, onWarning })
}
