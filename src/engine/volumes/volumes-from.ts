import type { RunOptions, VolumeMount } from '../../model/run-options.ts'
import { findContainer } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'

/** What other containers have mounted of host and store. Throws NO_SUCH_CONTAINER. */
export function mountsFrom(paths: EnginePaths, from: NonNullable<RunOptions['volumesFrom']>): VolumeMount[] {
  return from.flatMap(({ container, readonly }) => {
    const { record } = findContainer(paths, container)
    return (record.mounts ?? []).map((mount): VolumeMount => {
      const { chown: _, ...rest } = mount
      return readonly === undefined ? rest : { ...rest, readonly }
    })
  })
}
