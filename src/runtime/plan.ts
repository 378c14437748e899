import type { LaunchSpec } from '../model/launch.ts'
import { compile } from '../plan/compile.ts'
import { formatPlan } from '../plan/format.ts'
import { launchSpec, readBundle, streamsToGive } from './bundle.ts'
import { foreseeCgroup } from './cgroup.ts'
import { containerPaths } from './container.ts'
import type { CreateOptions } from './create.ts'

/** `plan`: the two columns of what `create` would do, as text. Reads, makes nothing. Throws what `create` throws. */
export async function foreseenPlan(options: CreateOptions): Promise<string> {
  const bundle = readBundle(options.bundle, options.configFile)
  const { directory } = containerPaths(options.root, options.id)
  const stdio: LaunchSpec['stdio'] =
    bundle.config.process?.terminal === true ? { kind: 'console' } : { kind: 'inherited', give: streamsToGive() }
  const spec = launchSpec(options.id, directory, bundle, stdio, {
    gate: true,
    preserveFds: options.preserveFds,
    pivot: options.pivot,
    keyring: options.keyring,
    pidfdSocket: options.pidfdSocket !== undefined,
  })
  const cgroup = await foreseeCgroup(options.id, bundle.config, options.cgroups)
  return formatPlan(compile(cgroup === undefined ? spec : { ...spec, cgroup }))
}
