import { join } from 'node:path'
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
  /** What has happened, a line of JSON each; `.1` behind it is the file before. */
  readonly events: string
  readonly volumes: string
}

export const DEFAULT_ROOT = '/var/lib/tscrun'
export const DEFAULT_RUN_ROOT = '/run/tscrun'

export function enginePaths(options: EngineOptions): EnginePaths {
  const root = options.root ?? DEFAULT_ROOT
  const runRoot = options.runRoot ?? DEFAULT_RUN_ROOT
  return {
    root,
    runRoot,
    containers: join(root, 'containers'),
    names: join(root, 'names'),
    layers: join(root, 'layers'),
    ranges: join(root, 'ranges'),
    events: join(root, 'events.log'),
    volumes: join(root, 'volumes'),
  }
}
