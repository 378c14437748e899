import { closeSync } from 'node:fs'
import type { TscrunError } from '../model/errors.ts'
import type { FdSlot, Plan } from '../model/step.ts'
import { encodePlan } from '../plan/encode.ts'
import { inheritedFds } from '../plan/inherited.ts'
import { explainFailure } from '../plan/explain.ts'
import {
  closeFd,
  makeBlocking,
  memoryFile,
  receiveMessage,
  sendMessage,
  socketPair,
  spawnStage,
  waitChild,
} from '../syscall/process.ts'
import type { StartedProcess, StepEvent } from './launch.ts'
import {
  decodeMessage,
  encodeMessage,
  failureOf,
  MESSAGE,
  MESSAGE_BYTES,
  MESSAGE_TEXT_BYTES,
  type Message,
} from './messages.ts'

export interface FollowOptions {
  /** Shown by ps(1) for the stage. */
  readonly title: string
  /** What the plan's inherited slots hold; the caller keeps its own copies. */
  readonly fds: ReadonlyMap<FdSlot, number>
  readonly workdir?: string
  /** At each `meet_caller` of the plan; the stage waits until it has returned. A throw ends the stage. */
  readonly onMeeting?: (point: number, process: StartedProcess) => Promise<void> | void
  /** Not only until the stage has ended: until the first process runs its command. */
  readonly untilExec?: boolean
  readonly onStep?: (event: StepEvent) => void
}

/**
 * Runs a plan without a monitor, to its end: the stage leaves the first process behind as a child of this one. Blocks this
 * thread, as whoever waits has nothing else to do; should it be killed meanwhile, the stage kills the first process.
 * Rejects with TscrunError where a step failed, and with what `onMeeting` threw.
 */
export async function followStage(plan: Plan, options: FollowOptions): Promise<StartedProcess> {
  const [control, theirs] = socketPair()
  makeBlocking(control)
  const planFd = memoryFile(
    'tscrun-plan',
    encodePlan(plan, { monitor: false, trace: options.onStep !== undefined }),
    false,
  )
  const stage = spawn()
  let failure: TscrunError | undefined
  let started: StartedProcess | undefined
  try {
    for (const message of messagesOf(control)) {
      const { type, column, step: index, error, a, b } = message
      if (type === MESSAGE.trace) options.onStep?.({ column, index, atNs: a })
      // The first one counts: the other side then only reports that its partner has gone.
      if (type === MESSAGE.failed) {
        failure ??= explainFailure(plan, failureOf(message), options.workdir)
      }
      if (type === MESSAGE.started) started = { pid: Number(a), startTime: Number(b) }
      if (type === MESSAGE.meeting) {
        // It waits for an answer that would be of no use: the end of the socket is one, too.
        if (failure !== undefined) break
        await options.onMeeting?.(error, { pid: Number(a), startTime: Number(b) })
        sendMessage(control, encodeMessage(MESSAGE.go))
      }
      // The first process holds its end of the socket, too, until its exec.
      if (started !== undefined && options.untilExec !== true) break
    }
  } finally {
    closeSync(control)
    waitChild(stage.pid)
    closeFd(stage.pidfd)
  }
  if (failure !== undefined) throw failure
  if (started === undefined) throw new Error('the stage ended without a word')
  return started

  function spawn(): ReturnType<typeof spawnStage> {
    try {
      return spawnStage([theirs, planFd, ...inheritedFds(plan, options.fds)], options.title)
    } catch (error) {
      closeSync(control)
      throw error
    } finally {
      closeFd(theirs)
      closeFd(planFd)
    }
  }
}

/** Until the other side has closed the socket. */
export function* messagesOf(control: number): Generator<Message> {
  const buffer = Buffer.alloc(MESSAGE_BYTES + MESSAGE_TEXT_BYTES)
  for (;;) {
    const bytes = receiveMessage(control, buffer)
    if (bytes === undefined) continue
    if (bytes.length < MESSAGE_BYTES) return
    yield decodeMessage(bytes)
  }
}
