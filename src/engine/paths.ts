import { join } from 'node:path'
import type { Settings } from '../model/settings.ts'
import type { EngineOptions } from './api.ts'

/** Where an engine keeps what (DESIGN: files). */
export interface EnginePaths {
  /** Images, layers, containers: survives a reboot. */
  readonly root: string
  /** What only lives as long as the machine runs. */
  readonly runRoot: string
  readonly containers: string
  readonly names: string
  readonly layers: string
  readonly ranges: string
  /** Host ids that containers are given from, where that is configured. */
  readonly idPool?: { readonly first: number; readonly size: number }
  /** What has happened, a line of JSON each; `.1` behind it is the file before. */
  readonly events: string
  readonly volumes: string
}

export const DEFAULT_ROOT = '/var/lib/tscrun'
export const DEFAULT_RUN_ROOT = '/run/tscrun'

export function enginePaths(options: EngineOptions, settings: Settings): EnginePaths {
  const root = options.root ?? settings.root ?? DEFAULT_ROOT
  const runRoot = options.runRoot ?? settings.runRoot ?? DEFAULT_RUN_ROOT
  return {
    root,
    runRoot,
    ...(settings.idPool === undefined ? {} : { idPool: settings.idPool }),
    containers: join(root, 'containers'),
    names: join(root, 'names'),
    layers: join(root, 'layers'),
    ranges: join(root, 'ranges'),
    events: join(root, 'events.log'),
    volumes: join(root, 'volumes'),
  }
}
