import type { OciConfig, OciMount } from '../model/config.ts'
import type { CgroupFacts } from '../model/facts.ts'

const PROPAGATION = /^r?(?:private|slave|shared|unbindable)$/

/**
 * `config` with its cgroup mounts as binds of the host's own, where the container stays in the host's cgroup namespace.
 * A new mount made there sets the options of the one hierarchy anew (apply_cgroup_root_flags in kernel/cgroup/cgroup.c):
 * the whole host would lose nsdelegate and memory_recursiveprot, as it does with runc 1.1 and crun 1.8.
 */
export function withHostsCgroups(config: OciConfig, { mountpoint }: CgroupFacts): OciConfig {
  const own = config.linux?.namespaces?.some(({ type }) => type === 'cgroup') === true
  if (own || mountpoint === undefined || config.mounts === undefined) return config
  return { ...config, mounts: config.mounts.map((mount) => boundFrom(mountpoint, mount)) }
}

function boundFrom(mountpoint: string, mount: OciMount): OciMount {
  const { type, options = [] } = mount
  if (type !== 'cgroup' && type !== 'cgroup2') return mount
  if (options.some((option) => /^(?:r?bind|remount)$/.test(option))) return mount
  // What goes on in the container's mounts is none of the host's business.
  const propagation = options.some((option) => PROPAGATION.test(option)) ? [] : ['private']
  return { ...mount, type: 'bind', source: mountpoint, options: ['bind', ...propagation, ...options] }
}
