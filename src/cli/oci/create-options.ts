import type { CreateOptions } from '../../runtime/create.ts'
import type { RuntimeInvocation } from './command.ts'
import { stepLogger } from './steps.ts'
import { given, preservedFds } from './values.ts'

/** What `create` and `run` are told by their flags. Throws USAGE. */
export function createOptions({ flags, operands, globals }: RuntimeInvocation): CreateOptions {
  return {
    root: globals.root,
    cgroups: globals.cgroups,
    id: operands[0] ?? '',
    bundle: flags.text('bundle') ?? '.',
    preserveFds: preservedFds(flags),
    pivot: !flags.bool('no-pivot'),
    keyring: !flags.bool('no-new-keyring'),
    ...given(flags, 'config', 'configFile'),
    ...given(flags, 'pid-file', 'pidFile'),
    ...given(flags, 'console-socket', 'consoleSocket'),
    ...given(flags, 'pidfd-socket', 'pidfdSocket'),
    ...stepLogger(globals),
  }
}
