import { cpus, totalmem } from 'node:os'
import { filesystemOf } from '../../overlayfs/support.ts'
import type { StoredImage } from '../../images/store.ts'
import type { ContainerView } from '../state/containers-view.ts'
import { SETTING_KEYS } from '../../model/settings.ts'
import type { EngineOptions } from '../api.ts'
import type { ResolvedSettings } from '../config/file.ts'
import { hostFacts } from '../../runtime/host.ts'
import { readPool } from '../ids/id-range.ts'
import type { EnginePaths } from '../paths.ts'
import { countPrepared } from '../prepared/file.ts'

/** Each key of the config file: its value, and where that comes from. */
function settingsInfo(options: EngineOptions, sources: ResolvedSettings['sources']): Record<string, unknown> {
  const flags: Readonly<Record<string, string | undefined>> = { root: options.root, runroot: options.runRoot }
  return Object.fromEntries(
    Object.entries(SETTING_KEYS).map(([key, { what }]) => {
      const flag = flags[key]
      if (flag !== undefined) return [key, { value: flag, source: 'flag' }]
      const found = sources.get(key)
      return [
        key,
        found === undefined ? { value: what, source: 'default' } : { value: found.value, source: found.from },
      ]
    }),
  )
}

/** What `tscrun info` shows: the host, the store, the defaults. */
export function engineInfo(
  paths: EnginePaths,
  containers: readonly ContainerView[],
  images: readonly StoredImage[],
  { options, sources }: { readonly options: EngineOptions; readonly sources: ResolvedSettings['sources'] },
): Readonly<Record<string, unknown>> {
  const facts = hostFacts()
  const pool = readPool(paths.idPool)
  return {
    host: {
      kernel: facts.kernel.release,
      arch: facts.arch,
      cpus: cpus().length,
      memoryBytes: totalmem(),
      cgroupVersion: facts.cgroup.mode,
      cgroupControllers: facts.cgroup.controllers,
      cgroupV1Controllers: facts.cgroup.v1Controllers,
      userNamespaces: facts.userNamespaces,
      apparmor: facts.apparmor,
      selinux: facts.selinux,
    },
    store: {
      root: paths.root,
      runRoot: paths.runRoot,
      filesystem: filesystemOf(paths.root),
      containers: containers.length,
      running: containers.filter(({ status }) => status === 'running' || status === 'restarting').length,
      images: images.length,
      preparedStarts: countPrepared(paths),
    },
    idPool: { first: pool.first, size: pool.size, source: pool.source },
    settings: settingsInfo(options, sources),
    node: process.version,
  }
}
