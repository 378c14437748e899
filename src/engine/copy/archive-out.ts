import { createTreeWriter } from '../../archive/member.ts'
import { joinNames, walkTree } from '../../archive/walk.ts'
import { createArchiveWriter } from '../../archive/writer.ts'
import type { ArchiveSink } from '../tree/export.ts'
import type { Source } from './resolve.ts'
import type { Side } from './side.ts'

/** Writes what a path is as a tar archive: below its own name, or with `/.` the content of a directory alone. */
export async function copyToArchive(
  side: Side,
  source: Source,
  sink: ArchiveSink,
  options: { readonly signal: AbortSignal | undefined; readonly onWarning: ((line: string) => void) | undefined },
): Promise<void> {
  const writer = createArchiveWriter(sink)
  const tree = createTreeWriter(writer, side.owners)
  const prefix = source.contents ? Buffer.alloc(0) : source.base
  try {
    const found = source.stats.isDirectory() ? walkTree(source.fd) : [{ path: Buffer.alloc(0), ...source }]
    for (const member of found) {
      options.signal?.throwIfAborted()
      const name = member.path.length === 0 ? prefix : joinNames(prefix, member.path)
      if (name.length === 0 || (await tree.add(member, name))) continue
      options.onWarning?.(`${side.prefix}${name.toString()} is left out, it is a socket`)
    }
    await writer.end()
  } catch (error) {
    writer.abort()
    throw error
  }
}
