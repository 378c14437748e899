import { closeSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { MEETING, type FdSlot, type Plan } from '../model/step.ts'
import { compile } from '../plan/compile.ts'
import { inheritedFds } from '../plan/inherited.ts'
import { LISTENER_SOCKET } from '../plan/process.ts'
import { closeFd } from '../syscall/process.ts'
import { connectUnix } from '../syscall/socket.ts'
import { withActivation } from './activation.ts'
import { type Bundle, readBundle } from './bundle.ts'
import { enterScope } from './cgroup.ts'
import { checkConsoleSocket } from './console-socket.ts'
import { claimContainer, type ContainerPaths, type ContainerState, writeWhole } from './container.ts'
import { completeSpec, createContainer, type CreateOptions, newState, openListener } from './create.ts'
import { deleteContainer } from './delete.ts'
import { type ContainerExit, launch, type Launched, type StepEvent } from './launch.ts'
import { startContainer } from './start.ts'

export interface RunOptions extends CreateOptions {
  /** Leave the container to `delete` when it has ended. */
  readonly keep: boolean
  /** Told of each hook that failed when the container could not be stopped any more. */
  readonly warn: (line: string) => void
  /** Called as soon as it can be signalled. */
  readonly onLaunched?: (launched: Launched) => void
}

/** `run --detach`: `create` and `start` in one. Throws what either throws; then nothing is left. */
export async function runDetached(options: CreateOptions, warn: (line: string) => void): Promise<void> {
  await createContainer(options)
  try {
    await startContainer(options.root, options.id, warn)
  } catch (error) {
    await deleteContainer(options.root, options.id, true, warn)
    throw error
  }
}

/**
 * `run` in the foreground: the container lives under a monitor, which copies the terminal, and ends with this process.
 * Others find it by its state meanwhile. Answers how it ended.
 */
export async function runForeground(options: RunOptions): Promise<ContainerExit> {
  const bundle = withActivation(readBundle(options.bundle, options.configFile))
  checkConsoleSocket(bundle.config.process, options.consoleSocket, false)
  const { paths, lock } = claimContainer(options.root, options.id)
  let held = true
  const release = (): void => {
    if (held) closeSync(lock)
    held = false
  }
  let ran = false
  try {
    const spec = await completeSpec(options, bundle, { directory: paths.directory, gate: false })
    // Once: what is mounted where the root will be is asked before anything is.
    const made = newState(options, bundle, spec)
    const launched = begin(options, bundle, { spec, paths, state: made })
    options.onLaunched?.(launched)
    try {
      const started = await launched.started
      ran = true
      const state = { ...made, ...started }
      writeWhole(paths.state, JSON.stringify(state))
      if (options.pidFile !== undefined) writeWhole(options.pidFile, String(started.pid))
      release()
      if (bundle.config.hooks?.poststart !== undefined) {
        const { runHooks } = await import('./hooks.ts')
        for (const line of await runHooks('poststart', bundle.text, { ...state, status: 'running' })) options.warn(line)
      }
      return await launched.exited
    } finally {
      await launched.released
    }
  } finally {
    release()
    if (!(ran && options.keep)) await deleteContainer(options.root, options.id, true, options.warn)
  }
}

interface Made {
  readonly spec: LaunchSpec
  readonly paths: ContainerPaths
  readonly state: ContainerState
}

function begin(options: RunOptions, bundle: Bundle, { spec, paths, state }: Made): Launched {
  const plan = compile(spec)
  writeWhole(paths.config, bundle.text)
  writeWhole(paths.state, JSON.stringify(state))
  const fds = callersFds(options)
  try {
    openListener(plan, bundle, fds)
    return launch(plan, {
      title: `tscrun-runtime: ${options.id}`,
      fds: inheritedFds(plan, fds),
      workdir: bundle.config.process?.cwd ?? '/',
      ...stepListener(options, plan),
      onMeeting: async (point, started) => {
        if (point !== MEETING.cloned) throw new RangeError(`no meeting ${point}`)
        await enterScope(options.id, bundle.config, started.pid).catch((error: unknown) => {
          if (error instanceof TscrunError && error.code === 'NAME_IN_USE') {
            // Another create was quicker: the scope of this name, with its cgroup, is not for us to remove.
            const { cgroup: _, ...rest } = spec
            writeWhole(paths.state, JSON.stringify(newState(options, bundle, rest)))
          }
          throw error
        })
      },
    })
  } finally {
    for (const [slot, fd] of fds) if (OPENED.has(slot)) closeFd(fd)
  }
}

function stepListener({ onStep }: RunOptions, plan: Plan): { onStep?: (event: StepEvent) => void } {
  return onStep === undefined ? {} : { onStep: (event) => onStep(plan, event) }
}

/** The others are the caller's own. */
const OPENED: ReadonlySet<FdSlot> = new Set(['fd:pidfd-socket', LISTENER_SOCKET])

function callersFds(options: RunOptions): Map<FdSlot, number> {
  const fds = new Map<FdSlot, number>()
  fds.set('fd:stdin', 0).set('fd:stdout', 1).set('fd:stderr', 2)
  fds.set('fd:in', 0).set('fd:out', 1).set('fd:err', 2)
  for (let index = 0; index < options.preserveFds; index++) fds.set(`fd:preserved${index}`, 3 + index)
  if (options.pidfdSocket !== undefined) fds.set('fd:pidfd-socket', connectUnix(options.pidfdSocket, 'stream'))
  return fds
}
