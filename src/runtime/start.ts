import { readFileSync, unlinkSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import type { Step } from '../model/step.ts'
import { closeFd } from '../syscall/process.ts'
import { connectUnix } from '../syscall/socket.ts'
import { type ContainerPaths, containerPaths, type ContainerState, readState, statusOf, withLock } from './container.ts'
import { messagesOf } from './follow.ts'
import { failureOf, MESSAGE, type Message } from './messages.ts'

/**
 * `start`: opens the gate and waits until the command runs, then for the poststart hooks. Throws CONTAINER_STATE, or what
 * kept it from running.
 *
 * @param warn told of each hook that failed
 */
export async function startContainer(root: string, id: string, warn: (line: string) => void = ignore): Promise<void> {
  const handed = handedOver()
  const locked: typeof withLock =
    handed === undefined ? withLock : async (_root, _id, action) => action(containerPaths(root, id))
  await locked(root, id, async (paths) => {
    const state = readState(root, id)
    const connection = handed ?? openGate(root, state, paths)
    try {
      for (const message of messagesOf(connection)) {
        if (message.type === MESSAGE.failed) throw await explain(paths, message)
      }
    } finally {
      closeFd(connection)
      unlinkSync(paths.gate)
    }
    const text = readFileSync(paths.config, 'utf8')
    if (!text.includes('"poststart"')) return
    const { runHooks } = await import('./hooks.ts')
    const lines = await runHooks('poststart', text, { ...state, status: 'running', pid: state.pid ?? 0 })
    for (const line of lines) warn(line)
  })
}

/**
 * The gate's connection where the launcher has opened it and there is something to explain (native/ordinary); the lock
 * came along and ends with this process.
 */
function handedOver(): number | undefined {
  const [, connection] = /^\d+ (\d+)$/.exec(process.env['TSCRUN_GATE'] ?? '') ?? []
  delete process.env['TSCRUN_GATE']
  return connection === undefined ? undefined : Number(connection)
}

function openGate(root: string, state: ContainerState, paths: ContainerPaths): number {
  const { status } = statusOf(root, state)
  if (status === 'created') return connectUnix(paths.gate, 'seqpacket')
  throw new TscrunError('CONTAINER_STATE', `cannot start a container that is ${status}: ${state.id}`, {
    subject: state.id,
    hint: '`start` is for one that `create` has made',
  })
}

function ignore(): void {
  // Whoever wants to know hands in a function.
}

async function explain(paths: ContainerPaths, message: Message): Promise<TscrunError> {
  const { explainFailure } = await import('../plan/explain.ts')
  const { from, steps } = JSON.parse(readFileSync(paths.remaining, 'utf8')) as { from: number; steps: Step[] }
  const child = [...Array.from({ length: from }, (): Step => ({ op: 'setsid' })), ...steps]
  const plan = { parent: [], child, teardown: [], pumps: [], inherited: [] }
  return explainFailure(plan, { ...failureOf(message), column: 'child' })
}
