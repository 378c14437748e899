import { withSignals } from '../../signals.ts'
import type { RuntimeCommand } from '../command.ts'
import { createOptions } from '../create-options.ts'
import { CREATE_FLAGS } from '../flags.ts'
import { forwardTo } from '../forward.ts'
import { logWarning } from '../log.ts'

export const run: RuntimeCommand = {
  name: 'run',
  usage: 'ID',
  description: 'Make a container, run it, and remove it when it has ended',
  flags: [
    ...CREATE_FLAGS,
    { name: 'detach', short: 'd', kind: 'bool', help: 'Do not wait for its end: create and start in one' },
    { name: 'keep', kind: 'bool', help: 'Leave it to delete when it has ended' },
    { name: 'no-subreaper', kind: 'bool', help: 'Accepted; there is none' },
  ],
  operands: { min: 1, max: 1 },
  async run(invocation) {
    const { flags } = invocation
    const { runDetached, runForeground } = await import('../../../runtime/run.ts')
    const options = createOptions(invocation)
    const warn = (line: string): void => logWarning(invocation.globals, line)
    if (flags.bool('detach')) {
      await runDetached(options, warn)
      return 0
    }
    const exit = await withSignals((signals) =>
      runForeground({ ...options, keep: flags.bool('keep'), warn, onLaunched: forwardTo(signals) }),
    )
    return exit.exitCode
  },
}
