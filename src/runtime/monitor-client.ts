import { closeSync, constants, openSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import type { NamesLaunch, RestartPolicy } from '../model/launch.ts'
import type { Plan } from '../model/step.ts'
import { RESTART_POLICIES } from '../plan/detach.ts'
import { encodePlan } from '../plan/encode.ts'
import { errnoName, SyscallError } from '../syscall/errno.ts'
import { closeFd, makeNonBlocking, memoryFile, receiveMessage, sendMessage } from '../syscall/process.ts'
import { watchReadable } from '../syscall/watch.ts'
import { connectUnix, sendWithFds } from '../syscall/socket.ts'
import { keepTerminalMode } from '../syscall/terminal.ts'
import { type ContainerExit, decodeExit, type Deferred, deferred } from './launch.ts'
import { decodeMessage, encodeMessage, MESSAGE, MESSAGE_BYTES } from './messages.ts'

/** A connection to the monitor of a container that lives on its own (native/clients.c). */
export interface MonitorClient {
  /** A signal for the first process. */
  signal(signal: number): void
  /** The same, and it is not to be started again; 0 sends none. `forNow`: not before the next boot. */
  stop(signal: number, forNow?: boolean): void
  resize(rows: number, columns: number): void
  /** Hands descriptors over for its streams. */
  attach(streams: AttachedStreams): void
  /** Makes a health check now; resolves to whether it passed, or to why none was made (`ENOENT`: none is defined). */
  check(): Promise<boolean | string>
  /** What has been changed of the container: what is told of it from now on, and the plan of its further lives. */
  change(change: ContainerChange): void
  /** What the name service is told of the container from now on; `undefined`: it has no name any more, if it had any. */
  changeNames(names: NamesLaunch | undefined): void
  /** What was asked for last, to attach or to change, is done. */
  readonly done: Promise<void>
  /** How it ended, or that the detach keys were typed. Rejects with MONITOR_DIED, and with ABORTED where we read nothing. */
  readonly ended: Promise<ContainerExit | 'detached'>
  close(): void
}

export interface ContainerChange {
  readonly name: string
  readonly restart: RestartPolicy
  readonly plan: Plan
}

export interface AttachedStreams {
  readonly stdin?: number
  readonly stdout?: number
  readonly stderr?: number
  /** The container has a terminal, and stdin is one, which becomes raw until the end. */
  readonly terminal: boolean
  /** Bytes in the input that end the connection; none with an empty text. */
  readonly detachKeys: string
}

/** Numbers of native/plan.h. */
const ATTACH = { stdin: 1, stdout: 2, stderr: 4, terminal: 8 } as const

/** Undefined where nobody listens: the monitor has ended, or has never been one of a detached container. */
export function connectMonitor(path: string): MonitorClient | undefined {
  const fd = tryConnect(path)
  return fd === undefined ? undefined : talk(fd)
}

function talk(fd: number): MonitorClient {
  makeNonBlocking(fd)
  const buffer = Buffer.alloc(MESSAGE_BYTES)
  const ended = deferred<ContainerExit | 'detached'>()
  const done = deferred<void>()
  const checks: Deferred<boolean | string>[] = []
  let open = true
  let restoreTerminal = (): void => undefined
  const watch = watchReadable(fd, onReadable)
  const close = (): void => {
    if (!open) return
    open = false
    watch.close()
    closeSync(fd)
  }
  return {
    signal: (signal) => send(MESSAGE.signal, signal),
    stop: (signal, forNow = false) => send(MESSAGE.stop, signal, forNow ? 1 : 0),
    resize: (rows, columns) => send(MESSAGE.resize, rows, columns),
    attach: ({ stdin, stdout, stderr, terminal, detachKeys }) => {
      const given = { stdin, stdout, stderr }
      if (terminal && stdin !== undefined) restoreTerminal = keepTerminalMode(stdin)
      const names = (['stdin', 'stdout', 'stderr'] as const).filter((name) => given[name] !== undefined)
      const bits = names.reduce((sum, name) => sum | ATTACH[name], terminal ? ATTACH.terminal : 0)
      const message = Buffer.concat([encodeMessage(MESSAGE.attach, bits), Buffer.from(detachKeys, 'latin1')])
      sendWithFds(
        fd,
        message,
        names.map((name) => given[name] ?? 0),
      )
    },
    check: () => {
      const check = deferred<boolean | string>()
      checks.push(check)
      send(MESSAGE.check)
      return check.promise
    },
    change: ({ name, restart, plan }) => {
      const message = encodeMessage(MESSAGE.changed, RESTART_POLICIES[restart.name], restart.most)
      const planFd = memoryFile('tscrun-plan', encodePlan(plan, { monitor: true, trace: false }), false)
      sendWithFds(fd, Buffer.concat([message, Buffer.from(name, 'latin1')]), [planFd])
      closeFd(planFd)
    },
    changeNames: (names) => {
      // With the last two it can take a place that it has none of yet.
      const needed = names === undefined ? [] : [names.directory, names.program]
      const paths = needed.map((path) => openSync(path, constants.O_RDONLY))
      const file = memoryFile('tscrun-names', Buffer.from(names?.text ?? 'D\n'), false)
      sendWithFds(fd, encodeMessage(MESSAGE.names), [file, ...paths])
      closeFd(file)
      for (const path of paths) closeSync(path)
    },
    done: done.promise,
    ended: ended.promise,
    close,
  }

  function send(type: number, a = 0, b = 0): void {
    if (open) sendMessage(fd, encodeMessage(type, a, b))
  }

  function onReadable(): void {
    for (;;) {
      const bytes = open ? receiveMessage(fd, buffer) : undefined
      if (bytes === undefined) return
      if (bytes.length < MESSAGE_BYTES) {
        const gone = new TscrunError('MONITOR_DIED', 'the monitor of the container was killed from outside', {
          hint: 'the container is gone with it; `tscrun ps` puts its record right',
        })
        restoreTerminal()
        for (const check of checks.splice(0)) check.reject(gone)
        ended.reject(gone)
        done.reject(gone)
        return close()
      }
      const { type, error, a, b } = decodeMessage(bytes)
      if (type === MESSAGE.go) done.resolve()
      if (type === MESSAGE.detached && a === 0n) ended.resolve('detached')
      if (type === MESSAGE.detached && a !== 0n) ended.reject(tooSlow())
      if (type === MESSAGE.checked) checks.shift()?.resolve(error === 0 ? a === 1n : errnoName(error))
      if (type === MESSAGE.exited) ended.resolve(decodeExit(Number(a), (b & 1n) !== 0n, (b & 4n) !== 0n))
    }
  }
}

function tooSlow(): TscrunError {
  return new TscrunError('ABORTED', 'attach: the connection was ended: nothing was read of what the container wrote', {
    hint: 'the container goes on; `tscrun logs` has all that it wrote',
  })
}

function tryConnect(path: string): number | undefined {
  try {
    return connectUnix(path, 'seqpacket')
  } catch (error) {
    if (error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')) return undefined
    throw error
  }
}
