import type { ImageStore } from '../../images/store.ts'
import { commitContainer, type CommitOptions } from './commit.ts'
import { copyFiles, copyInArchive, copyOutArchive, type CopyEnd, type CopyOptions } from '../copy/copy.ts'
import { containerChanges, type PathChange } from './diff.ts'
import { type ArchiveSink, exportContainer } from './export.ts'
import type { EnginePaths } from '../paths.ts'
import { requireReadable } from '../verbs.ts'

/** The verbs on what a container has written, and on its files. */
export interface FileVerbs {
  /** What a container has otherwise than its image, sorted by path. */
  diff(idOrName: string): Promise<readonly PathChange[]>
  /** Gives a container's files to `sink` as one tar archive. */
  export(idOrName: string, sink: ArchiveSink, signal?: AbortSignal): Promise<void>
  /** Makes an image of a container, with a name or without; resolves to the image's id. */
  commit(idOrName: string, name: string | undefined, options: CommitOptions): Promise<string>
  /** Copies between this machine and a container, or two containers. */
  copy(from: CopyEnd, to: CopyEnd, options: CopyOptions): Promise<void>
  /** Gives what a path in a container is to `sink` as a tar archive. */
  copyOut(from: CopyEnd, sink: ArchiveSink, options: CopyOptions): Promise<void>
  /** Unpacks a tar archive below a directory of a container. */
  copyIn(archive: AsyncIterable<Uint8Array>, to: CopyEnd, options: CopyOptions): Promise<void>
}

export function fileVerbs(paths: EnginePaths, store: ImageStore): FileVerbs {
  requireReadable(paths)
  return {
    diff: (idOrName) => containerChanges(paths, idOrName),
    export: (idOrName, sink, signal) => exportContainer(paths, idOrName, sink, signal),
    copy: (from, to, options) => copyFiles(paths, from, to, options),
    copyOut: (from, sink, options) => copyOutArchive(paths, from, sink, options),
    copyIn: (archive, to, options) => copyInArchive(paths, archive, to, options),
    commit: (idOrName, name, options) => commitContainer({ paths, store }, idOrName, name, options),
  }
}
