import { TscrunError } from '../model/errors.ts'
import type { FlagValues } from './command.ts'
import { reportError } from './errors.ts'
import { printError } from './output/print.ts'

/** Those that are named, or with `--all` or `--filter` undefined. Throws USAGE where it is neither, or both. */
export function namedOrAll(
  verb: string,
  flags: FlagValues,
  operands: readonly string[],
  noun = 'container',
): readonly string[] | undefined {
  const all = flags.bool('all') || flags.has('filter')
  const word = flags.bool('all') ? '--all' : '--filter'
  const usage = {
    subject: verb,
    hint: `usage: tscrun ${verb} [OPTIONS] ${noun.toUpperCase()} [${noun.toUpperCase()}...], or ${verb} --all`,
  }
  if (!all && operands.length === 0) throw new TscrunError('USAGE', `${verb}: the ${noun} is missing`, usage)
  if (all && operands.length > 0) throw new TscrunError('USAGE', `${verb} ${word}: no ${noun} can be named`, usage)
  return all ? undefined : operands
}

/** As `forEachOperand`, all at once: each of them mostly waits. */
export async function forAllAtOnce(
  operands: readonly string[],
  action: (operand: string) => Promise<void>,
  debug: boolean,
): Promise<number> {
  const codes = await Promise.all(operands.map((operand) => forEachOperand([operand], action, debug)))
  return codes.find((code) => code !== 0) ?? 0
}

/**
 * Does something for each operand in turn; one that fails does not keep the others from their turn. Its error is
 * printed at once, and the first one's exit code is the command's. What is no TscrunError ends everything, and so does
 * being interrupted.
 */
export async function forEachOperand(
  operands: readonly string[],
  action: (operand: string) => Promise<void>,
  debug: boolean,
): Promise<number> {
  let exitCode = 0
  for (const operand of operands) {
    try {
      await action(operand)
    } catch (error) {
      if (!(error instanceof TscrunError) || error.code === 'ABORTED') throw error
      const outcome = reportError(error, debug)
      printError(outcome.text)
      exitCode ||= outcome.exitCode
    }
  }
  return exitCode
}
