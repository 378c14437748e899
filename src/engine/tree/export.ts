import { createTreeWriter } from '../../archive/member.ts'
import { walkTree } from '../../archive/walk.ts'
import { createArchiveWriter } from '../../archive/writer.ts'
import { openContainerRoot } from './container-root.ts'
import type { EnginePaths } from '../paths.ts'

/** Gets an archive's bytes in order; the next come when it has resolved. */
export type ArchiveSink = (chunk: Buffer) => Promise<void> | void

/** Writes a container's files as one tar archive, owners as the container has them. Volumes and /proc are not its files. */
export async function exportContainer(
  paths: EnginePaths,
  idOrName: string,
  sink: ArchiveSink,
  signal?: AbortSignal,
): Promise<void> {
  using root = await openContainerRoot(paths, idOrName, { verb: 'export', mounts: false })
  const writer = createArchiveWriter(sink)
  const tree = createTreeWriter(writer, root.owners)
  try {
    for (const found of walkTree(root.fd)) {
      signal?.throwIfAborted()
      if (found.path.length > 0) await tree.add(found, found.path)
    }
    await writer.end()
  } catch (error) {
    writer.abort()
    throw error
  }
}
