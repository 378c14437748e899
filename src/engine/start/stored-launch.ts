import type { LaunchSpec, LogOptions, RestartPolicy } from '../../model/launch.ts'
import type { DetachedOptions, RunOptions } from '../../model/run-options.ts'
import type { PreparedContainer } from './prepare.ts'
import type { StoredLaunch } from '../state/record.ts'

/** A log grows to two files of 10 MiB: nobody reads it on a machine whose disk it has filled. */
const DEFAULT_LOG: LogOptions = { driver: 'k8s-file', maxSize: 10 * 2 ** 20, maxFiles: 2 }
const NO_RESTART: RestartPolicy = { name: 'no', most: 0 }

/** What `start` will need of a container that is kept. */
export function storedLaunch(
  spec: LaunchSpec,
  run: RunOptions & DetachedOptions,
  { targets, health }: Pick<PreparedContainer, 'targets' | 'health'>,
): StoredLaunch {
  const { rootfs, files, init, seccomp } = spec
  return {
    rootfs,
    files,
    init,
    interactive: run.interactive === true,
    log: { ...DEFAULT_LOG, ...run.log },
    restart: run.restart ?? NO_RESTART,
    ...(targets === undefined ? {} : { joins: targets.stored }),
    ...(run.timeoutMs === undefined ? {} : { timeLimitMs: run.timeoutMs }),
    ...(health === undefined ? {} : { health }),
    ...(seccomp === undefined
      ? {}
      : { seccomp: { program: Buffer.from(seccomp.program).toString('base64'), flags: seccomp.flags } }),
  }
}
