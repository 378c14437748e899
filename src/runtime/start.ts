import { readFileSync, unlinkSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import type { Step } from '../model/step.ts'
import { closeFd } from '../syscall/process.ts'
import { connectUnix } from '../syscall/socket.ts'
import { type ContainerPaths, readState, statusOf, withLock } from './container.ts'
import { messagesOf } from './follow.ts'
import { failureOf, MESSAGE, type Message } from './messages.ts'

/**
 * `start`: opens the gate and waits until the command runs, then for the poststart hooks. Throws CONTAINER_STATE, or what
 * kept it from running.
 *
 * @param warn told of each hook that failed
 */
export async function startContainer(root: string, id: string, warn: (line: string) => void = ignore): Promise<void> {
  await withLock(root, id, async (paths) => {
    const state = readState(root, id)
    const { status } = statusOf(root, state)
    if (status !== 'created') {
      throw new TscrunError('CONTAINER_STATE', `cannot start a container that is ${status}: ${id}`, {
        subject: id,
        hint: '`start` is for one that `create` has made',
      })
    }
    const connection = connectUnix(paths.gate, 'seqpacket')
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
