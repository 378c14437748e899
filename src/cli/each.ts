import { TscrunError } from '../model/errors.ts'
import { reportError } from './errors.ts'
import { printError } from './output/print.ts'

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
