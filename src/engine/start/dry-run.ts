import type { Stdio } from '../../model/launch.ts'
import { compile } from '../../plan/compile.ts'
import { formatPlan } from '../../plan/format.ts'
import { placeCgroup } from './cgroup.ts'
import type { EnginePaths } from '../paths.ts'
import type { PreparedContainer } from './prepare.ts'
import { imagineMounts } from '../volumes/take.ts'

/** The plan of a container as text; nothing is made, not even a directory for a volume. */
export function dryRun(paths: EnginePaths, prepared: PreparedContainer, stdio: Stdio): string {
  const spec = prepared.spec({ stdio, taken: imagineMounts(paths, prepared.mounts), dryRun: true })
  const cgroup = placeCgroup(spec.id, spec.config, { dryRun: true })
  return formatPlan(compile(cgroup === undefined ? spec : { ...spec, cgroup }))
}
