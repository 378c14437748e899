import { closeSync } from 'node:fs'
import type { TscrunError } from '../model/errors.ts'
import type { FdSlot, Plan, Step } from '../model/step.ts'
import { encodePlan } from '../plan/encode.ts'
import { explainFailure } from '../plan/explain.ts'
import { closeFd, makeBlocking, memoryFile, socketPair, spawnStage, waitChild } from '../syscall/process.ts'
import { receiveFd } from '../syscall/socket.ts'
import { messagesOf } from './follow.ts'
import { failureOf, MESSAGE } from './messages.ts'

const ASKER: FdSlot = 'fd:asker'

/**
 * Runs steps in a process of its own, which may enter namespaces as this one may not, and answers the descriptor they have
 * made under `made`; it is the caller's to close. Blocks this thread for the milliseconds that takes. Throws TscrunError
 * where a step failed.
 */
export function makeByStage(steps: readonly Step[], made: FdSlot, title: string): number {
  const plan: Plan = {
    parent: [...steps, { op: 'send_fd_to', socket: ASKER, fd: made, text: 'made' }],
    child: [],
    teardown: [],
    pumps: [],
    inherited: [ASKER],
  }
  const [control, theirs] = socketPair()
  const [answer, asker] = socketPair()
  makeBlocking(control)
  const planFd = memoryFile('tscrun-plan', encodePlan(plan, { monitor: false, trace: false }), false)
  let failure: TscrunError | undefined
  try {
    const stage = start([theirs, planFd, asker], title)
    try {
      for (const message of messagesOf(control)) {
        if (message.type === MESSAGE.failed) failure ??= explainFailure(plan, failureOf(message))
      }
    } finally {
      waitChild(stage.pid)
      closeFd(stage.pidfd)
    }
    if (failure !== undefined) throw failure
    return receiveFd(answer)
  } finally {
    closeSync(control)
    closeSync(answer)
  }
}

/** The descriptors are the stage's from here on. */
function start(fds: readonly number[], title: string): ReturnType<typeof spawnStage> {
  try {
    return spawnStage(fds, title)
  } finally {
    for (const fd of fds) closeFd(fd)
  }
}
