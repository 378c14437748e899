import type { NetworkLaunch } from '../../model/launch.ts'
import type { Called } from '../../network/names.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { readUp } from './host.ts'
import { type Connected, networkLaunch } from './launch.ts'

/** What each start of it needs of its networks, which are up; undefined for none. */
export function networkOfRecord(paths: EnginePaths, record: ContainerRecord): NetworkLaunch | undefined {
  const has = connectedOf(record)
  return has === undefined ? undefined : networkLaunch(paths, calledOf(record), has, readUp(paths))
}

/** What it has of networks; undefined for none. */
export function connectedOf({ connections, ports = [], cni, resolvers }: ContainerRecord): Connected | undefined {
  if (connections === undefined) return undefined
  return {
    connections,
    ports,
    ...(cni === undefined ? {} : { cni }),
    ...(resolvers === undefined ? {} : { resolvers }),
  }
}

export function calledOf({ id, name, config }: ContainerRecord): Called {
  return { id, name, ...(config.hostname === undefined ? {} : { hostname: config.hostname }) }
}
