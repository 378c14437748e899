import { removeCgroup } from '../../cgroups/remove.ts'
import { TscrunError } from '../../model/errors.ts'
import { deleteAttachments, takeBackPorts } from '../networks/left.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

/**
 * Of a container that could not be started, or whose monitor was killed: what that would have removed at its end. After any
 * other monitor it is gone already.
 */
export async function afterMonitor(paths: EnginePaths, record: ContainerRecord, reason: unknown): Promise<void> {
  if (record.cgroup !== undefined) await removeCgroup(record.cgroup)
  const wasKilled = reason === 'killed' || (reason instanceof TscrunError && reason.code === 'MONITOR_DIED')
  if (!wasKilled) return
  await takeBackPorts(paths, record.id)
  await deleteAttachments(paths, record)
}
