import type { UnitSource } from '../api.ts'
import { type ContainerView, tryFindContainer } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'

export function unitSource(paths: EnginePaths, { record }: ContainerView): UnitSource {
  const targets = new Set(record.launch?.joins?.map(({ container }) => container))
  return {
    id: record.id,
    name: record.name,
    restart: record.launch?.restart.name ?? 'no',
    stopSignal: record.stopSignal,
    image: record.image,
    ...(record.imageId === undefined ? {} : { imageId: record.imageId }),
    network: record.network,
    ownUser: record.config.linux?.namespaces?.some(({ type, path }) => type === 'user' && path === undefined) === true,
    env: record.config.process?.env ?? [],
    ...(record.madeBy === undefined ? {} : { madeBy: record.madeBy }),
    joins: [...targets].flatMap((id) => tryFindContainer(paths, id)?.record.name ?? []),
    root: paths.root,
    runRoot: paths.runRoot,
  }
}
