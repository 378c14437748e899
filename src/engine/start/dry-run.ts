import type { Stdio } from '../../model/launch.ts'
import type { RunOptions } from '../../model/run-options.ts'
import type { Plan } from '../../model/step.ts'
import { compile } from '../../plan/compile.ts'
import { formatPlan } from '../../plan/format.ts'
import { placeCgroup } from './cgroup.ts'
import type { EnginePaths } from '../paths.ts'
import type { PreparedContainer } from './prepare.ts'
import { attachmentsOf } from '../networks/cni/attach.ts'
import { imagineNetworks } from '../networks/imagine.ts'
import { imagineMounts } from '../volumes/take.ts'

/** Every step with which a container is made, in order. `String(plan)` is for people: both columns in the order of time. */
export interface ContainerPlan extends Plan {
  toString(): string
}

/** The plan of a container; nothing is made, not even a directory for a volume. */
export function dryRun(
  paths: EnginePaths,
  prepared: PreparedContainer,
  { network: asked, ports = [] }: RunOptions,
  stdio: Stdio,
): ContainerPlan {
  const networks = typeof asked === 'object' && 'networks' in asked ? asked.networks : undefined
  const connected = networks === undefined ? undefined : imagineNetworks(paths, prepared, networks, ports)
  const cni = typeof asked === 'object' && 'cni' in asked ? attachmentsOf(asked.cni, ports) : undefined
  const spec = prepared.spec({
    stdio,
    taken: imagineMounts(paths, prepared.mounts),
    dryRun: true,
    ...(connected === undefined ? {} : { connected }),
  })
  const cgroup = placeCgroup(spec.id, spec.config, { dryRun: true })
  const plan = compile({
    ...spec,
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(connected === undefined ? {} : { network: connected.network }),
    ...(cni === undefined ? {} : { network: { links: [], cni } }),
  })
  return { ...plan, toString: () => formatPlan(plan) }
}
