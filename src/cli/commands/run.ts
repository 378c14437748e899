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
    if (options.tty === true && !dryRun && detached === undefined) await requireTerminal(options.interactive === true)
    const opened = await engine()
    if (dryRun) {
      print(await opened.dryRun(image, args, options))
      return 0
    }
    const { onWarning, onProgress, finish } = reporter
    const cidfile = flags.text('cidfile')
    const common = {
      ...options,
      ...(cidfile === undefined || cidfile === '' ? {} : { cidfile }),
      ...pidfileOf(flags, detached !== undefined),
      madeBy: madeBy(process.argv.slice(2), operands, caller.cwd),
      onWarning,
      onProgress,
    }
    try {
      return await withSignals(async (signals) => {
        if (detached !== undefined) {
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

function pidfileOf(flags: FlagValues, detached: boolean): { monitorPidfile?: string } {
  const path = flags.text('monitor-pidfile') ?? ''
  if (path === '') return {}
  if (!detached) throw badFlag('monitor-pidfile', path, 'needs --detach')
  return { monitorPidfile: path }
}

function forwardSignals(signals: Signals, running: RunningContainer): void {
  signals.takeOver((signal) => running.kill(signal))
}
