import { existsSync } from 'node:fs'
import type { CniAttachment } from '../../model/cni.ts'
import type { EnginePaths } from '../paths.ts'
import { publicationPath, takenBackPath } from './publication-path.ts'

/** What its plugins keep of a container whose monitor was killed; they are loaded for one that has any. */
export async function deleteAttachments(
  paths: EnginePaths,
  record: { readonly id: string; readonly cni?: readonly CniAttachment[] } | undefined,
): Promise<void> {
  if (record?.cni === undefined) return
  const { deleteLeftAttachments } = await import('./cni/attach.ts')
  await deleteLeftAttachments(paths, record)
}

/** What only the firewall still knows of a container whose monitor was killed. */
export async function takeBackPorts(paths: EnginePaths, id: string): Promise<void> {
  if (!existsSync(publicationPath(paths, id)) && !existsSync(takenBackPath(paths, id))) return
  const { takeBack } = await import('./take-back.ts')
  await takeBack(paths, id)
}
