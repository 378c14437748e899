import type { RunningContainer } from '../../engine/api.ts'
import type { Command, FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { RUN_FLAGS } from '../flags/run.ts'
import { madeBy } from '../made-by.ts'
import { print } from '../output/print.ts'
import { parseRun } from '../parse/run.ts'
import { currentDirectory, requireTerminal } from '../caller.ts'
import { createReporter } from '../reporter.ts'
import { type Signals, withSignals } from '../signals.ts'
import { watchedCaller } from '../watched-caller.ts'

export const runCommand: Command = {
  name: 'run',
  usage: 'IMAGE [COMMAND] [ARG...]',
  description: 'Create and run a new container from an image or, with --rootfs, from a root directory',
  flags: RUN_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  passThrough: true,
  async run({ flags, operands, globals, engine }) {
    const caller = watchedCaller(currentDirectory())
    const { image, args, options, notes, log, detached } = parseRun(flags, operands, caller)
    const reporter = createReporter(globals, { quiet: flags.bool('quiet') })
    for (const note of notes) reporter.onWarning(note)
    const dryRun = flags.bool('dry-run')
    if (options.tty === true && !dryRun && !flags.bool('detach')) await requireTerminal(options.interactive === true)
    const opened = await engine()
    if (dryRun) {
      print(String(await opened.dryRun(image, args, options)))
      return 0
    }
    const { onWarning, onProgress, finish } = reporter
    const cidfile = flags.text('cidfile')
    const common = {
      ...options,
      ...(cidfile === undefined || cidfile === '' ? {} : { cidfile }),
      ...pidfileOf(flags),
      madeBy: madeBy(process.argv.slice(2), operands, caller.cwd),
      onWarning,
      onProgress,
    }
    const keys = flags.text('detach-keys') ?? (options.tty === true ? opened.settings.detachKeys : undefined) ?? ''
    try {
      if (keys !== '' && !flags.bool('detach')) {
        const { attachHere } = await import('../attached.ts')
        const { parseDetachKeys } = await import('../parse/times.ts')
        const run = { ...common, ...detached, ...(log === undefined ? {} : { log }) }
        return await attachHere((attach, signal) => opened.runAttached(image, args, { ...run, attach, signal }), {
          stdin: options.interactive === true,
          detachKeys: parseDetachKeys(keys),
          signals: true,
        })
      }
      return await withSignals(async (signals) => {
        if (flags.bool('detach')) {
          const id = await opened.runDetached(image, args, { ...common, ...detached, signal: signals.aborted })
          print(`${id}\n`)
          return 0
        }
        const repeat = notes.length > 0 || globals.debug ? undefined : caller.repeatable()
        return opened.runForeground(image, args, {
          ...common,
          ...(log === undefined ? {} : { log }),
          ...(repeat === undefined ? {} : { repeat }),
          signal: signals.aborted,
          onStarted: (running) => forwardSignals(signals, running),
        })
      })
    } finally {
      await finish()
    }
  },
}

function pidfileOf(flags: FlagValues): { monitorPidfile?: string } {
  const path = flags.text('monitor-pidfile') ?? ''
  if (path === '') return {}
  if (!flags.bool('detach')) throw badFlag('monitor-pidfile', path, 'needs --detach')
  return { monitorPidfile: path }
}

function forwardSignals(signals: Signals, running: RunningContainer): void {
  signals.takeOver((signal) => running.kill(signal))
}
