import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import { packageRoot } from '../../syscall/package-root.ts'
import type { Command } from '../command.ts'
import { HELP_FLAG } from '../flags/flag.ts'
import { print } from '../output/print.ts'

/** Files of the package, for whoever installs them at once. */
const SCRIPTS: ReadonlyMap<string, string> = new Map([
  ['bash', 'tscrun.bash'],
  ['zsh', '_tscrun'],
  ['fish', 'tscrun.fish'],
])

export const completionCommand: Command = {
  name: 'completion',
  usage: 'bash|zsh|fish',
  description: 'Print the completion of commands, flags and names for a shell: source <(tscrun completion bash)',
  flags: [HELP_FLAG],
  operands: { min: 1, max: 1, noun: 'shell' },
  async run({ operands }) {
    const [shell = ''] = operands
    const file = SCRIPTS.get(shell)
    if (file === undefined) {
      throw new TscrunError('USAGE', `completion ${shell}: unknown shell`, {
        subject: shell,
        hint: [...SCRIPTS.keys()].join(', '),
      })
    }
    print(readFileSync(join(packageRoot(), 'completions', file), 'utf8'))
    return 0
  },
}
