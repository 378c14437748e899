import { closeSync } from 'node:fs'
import { SyscallError } from '../syscall/errno.ts'
import { realTimers } from '../syscall/pause.ts'
import { closeFd, memoryFile, reapChild, reapStrays, sendMessage, socketPair, spawnStage } from '../syscall/process.ts'
import { keepOff } from '../syscall/processor.ts'
import { sendWithFds } from '../syscall/socket.ts'
import { watchReadable } from '../syscall/watch.ts'
import { encodeMessage, MESSAGE, MESSAGE_BYTES, writeElsewhere } from './messages.ts'

/** A stage process: a child of ours, which ends when `control` is closed. */
export interface Stage {
  readonly pid: number
  readonly pidfd: number
  /** Where it is talked to; never waits. */
  readonly control: number
}

export interface StageOptions {
  /** Shown by ps(1). */
  readonly title: string
  /** Become the plan's inherited slots; the caller keeps its own copies. */
  readonly fds: readonly number[]
  /** It may live on for long, with many others. */
  readonly lifetime?: 'long'
}

/** Starts a stage with its first plan. Throws SyscallError. */
export function beginStage(plan: Uint8Array, options: StageOptions): Stage {
  const planFd = memoryFile('tscrun-plan', plan, false)
  const [control, theirs] = socketPair()
  try {
    return { ...spawnStage([theirs, planFd, ...options.fds], options.title, options.lifetime), control }
  } catch (error) {
    closeSync(control)
    throw error
  } finally {
    closeFd(theirs)
    closeFd(planFd)
  }
}

/** No more is said to it; collected when it has ended. */
export function leaveStage(stage: Stage): void {
  closeSync(stage.control)
  closeFd(stage.pidfd)
  left.set(stage.pid, undefined)
}

/** It has been collected. */
export function forgetStage(stage: Stage): void {
  left.delete(stage.pid)
}

/** Ends one that waits, which takes it a few milliseconds; then calls `after`, unless this process has ended before. */
export function dismissStage(stage: Stage, after: () => void): void {
  leaveStage(stage)
  left.set(stage.pid, after)
  collectSoon(20)
}

/** Ends one that waits, and resolves when nothing is left of what it has made. */
export function endStage(stage: Stage): Promise<void> {
  closeSync(stage.control)
  return new Promise((resolve) => {
    const watch = watchReadable(stage.pidfd, () => {
      if (!reapChild(stage.pid)) return
      watch.close()
      closeFd(stage.pidfd)
      resolve()
    })
  })
}

function collectSoon(ms: number): void {
  realTimers
    .setTimeout(() => {
      collectStages()
      if (left.size > 0 && ms < 1000) collectSoon(2 * ms)
    }, ms)
    .unref()
}

/** Stages that go on without us, and are our children all the same. */
const left = new Map<number, (() => void) | undefined>()

/**
 * Collects those that have ended, also those of Workers that are no more. Not told by an event: a watch that nobody waits
 * for may be called while Node ends, which koffi does not survive.
 */
export function collectStages(): void {
  for (const [pid, after] of left) {
    if (!reapChild(pid)) continue
    left.delete(pid)
    after?.()
  }
  reapStrays()
}

/** Room for a name, written by the stage itself: it has several, one after the other. */
export const HELD_TITLE = 'tscrun: ahead'.padEnd(48)

/** A larger one might not fit into the socket. */
const MAX_PLAN = 64 * 1024

/** Gives a stage whose container has gone the next plan, to be run up to its hold. False where it cannot be had. */
export function givePlan(stage: Stage, message: Buffer): boolean {
  if (message.length > MAX_PLAN) return false
  writeElsewhere(message, keepOff(stage.pid))
  return sendMessage(stage.control, message)
}

/** Room for such a message with a plan of this size, and where the plan is written in it. */
export function planMessage(size: number): { readonly message: Buffer; readonly plan: Buffer<ArrayBuffer> } {
  const message = Buffer.alloc(MESSAGE_BYTES + size)
  encodeMessage(MESSAGE.plan).copy(message)
  return { message, plan: message.subarray(MESSAGE_BYTES) }
}

/**
 * The hold of its plan ends: the container is wanted, and its directory is there. These are the first of its inherited
 * slots. One that has ended is found later.
 */
export function endHold(stage: Stage, fds: readonly number[]): void {
  const isOff = keepOff(stage.pid)
  if (isOff) keptOff.add(stage)
  sendToStage(stage, MESSAGE.soon, isOff, fds)
}

/** Those that work beside us, not on our processor, until they are let go. */
const keptOff = new WeakSet<Stage>()

/** The command may run; these are the rest of the inherited slots. False where the stage has ended before. */
export function letGo(stage: Stage, fds: readonly number[]): boolean {
  return sendToStage(stage, MESSAGE.go, keptOff.delete(stage) || keepOff(stage.pid), fds)
}

/** @param isOff it has been kept off our processor */
function sendToStage(stage: Stage, type: number, isOff: boolean, fds: readonly number[]): boolean {
  const message = encodeMessage(type)
  writeElsewhere(message, isOff)
  try {
    sendWithFds(stage.control, message, fds)
    return true
  } catch (error) {
    if (error instanceof SyscallError && (error.code === 'EPIPE' || error.code === 'ECONNRESET')) return false
    throw error
  }
}
