import { connectMonitor, type MonitorClient } from '../../runtime/monitor-client.ts'
import { networkOfRecord } from '../networks/of-record.ts'
import { nextPlan, type StartableRecord } from './next-plan.ts'
import { monitorSocket } from './monitor-socket.ts'
import { unlessGone } from './live.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

/**
 * Tells the monitor of a container what has been changed in its record: it starts it again by a plan of its own, and
 * speaks of it in events. Resolves when it knows; one that ends just now, or in the foreground, needs not to.
 */
export async function tellMonitor(paths: EnginePaths, record: ContainerRecord): Promise<void> {
  if (record.launch === undefined) return
  const startable: StartableRecord = { ...record, launch: record.launch }
  await withMonitor(paths, record.id, (client) => {
    client.change({ name: record.name, restart: startable.launch.restart, plan: nextPlan(paths, startable) })
  })
  const network = networkOfRecord(paths, record)
  if (network !== undefined) await withMonitor(paths, record.id, (client) => client.changeNames(network.names))
}

/** Whether somebody would hear of a change: one in the foreground has no socket. */
export function hasMonitor(paths: EnginePaths, id: string): boolean {
  const client = connectMonitor(monitorSocket(paths, id))
  client?.close()
  return client !== undefined
}

async function withMonitor(paths: EnginePaths, id: string, ask: (client: MonitorClient) => void): Promise<void> {
  const client = connectMonitor(monitorSocket(paths, id))
  if (client === undefined) return
  try {
    ask(client)
    await unlessGone(client.done)
  } finally {
    client.close()
  }
}
