import { readUserFile, requireTerminal } from '../caller.ts'
import { TscrunError } from '../../model/errors.ts'
import { latestOrFirst } from '../choice.ts'
import type { Command } from '../command.ts'
import { EXEC_FLAGS } from '../flags/exec.ts'
import { parseEnvironment } from '../parse/environment.ts'
import { parseUser, parseWorkdir } from '../parse/words.ts'
import { withSignals } from '../signals.ts'

export const execCommand: Command = {
  name: 'exec',
  usage: 'CONTAINER COMMAND [ARG...]',
  description: 'Run a command in a container that runs',
  flags: EXEC_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container or the command' },
  passThrough: true,
  async run({ flags, operands, engine }) {
    const env = parseEnvironment(flags.list('env-file'), flags.list('env'), process.env, readUserFile)
    const [user, workdir] = [flags.text('user') ?? '', flags.text('workdir') ?? '']
    const [tty, interactive, detach] = [flags.bool('tty'), flags.bool('interactive'), flags.bool('detach')]
    const options = {
      env,
      tty: tty && !detach,
      interactive,
      privileged: flags.bool('privileged'),
      ...(user === '' ? {} : { user: parseUser(user) }),
      ...(workdir === '' ? {} : { workdir: parseWorkdir(workdir) }),
    }
    if (options.tty) await requireTerminal(interactive)
    const [container, ...args] = await latestOrFirst(engine, { verb: 'exec', flags, operands })
    const opened = await engine()
    if (args.length === 0) {
      throw new TscrunError('USAGE', 'exec: the container or the command is missing', {
        hint: 'usage: tscrun exec [OPTIONS] CONTAINER COMMAND [ARG...]',
        subject: 'exec',
      })
    }
    if (detach) {
      await opened.execDetached(container, args, options)
      return 0
    }
    return withSignals(({ takeOver }) =>
      opened.exec(container, args, {
        ...options,
        onStarted: ({ kill }) => takeOver((signal) => kill(signal)),
      }),
    )
  },
}
