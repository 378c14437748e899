import { cpus, totalmem } from 'node:os'
import { filesystemOf } from '../overlayfs/support.ts'
import type { StoredImage } from '../images/store.ts'
import type { ContainerView } from './containers-view.ts'
import { hostFacts } from '../runtime/host.ts'
import { readPool } from './id-range.ts'
import type { EnginePaths } from './paths.ts'

/** What `tscrun info` shows: the host, the store, the defaults. */
export function engineInfo(
  paths: EnginePaths,
  containers: readonly ContainerView[],
  images: readonly StoredImage[],
): Readonly<Record<string, unknown>> {
  const facts = hostFacts()
  const pool = readPool()
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
      running: containers.filter((container) => container.status === 'running').length,
      images: images.length,
    },
    idPool: { first: pool.first, size: pool.size },
    node: process.version,
  }
}
