import type { Plan } from '../../model/step.ts'
import { describeStep } from '../../plan/words.ts'
import type { StepEvent } from '../../runtime/launch.ts'
import type { RuntimeGlobals } from './command.ts'
import { logDebug } from './log.ts'

/** With `--debug` a line for each step as it is done. */
export function stepLogger(globals: RuntimeGlobals): { onStep?: (plan: Plan, event: StepEvent) => void } {
  if (!globals.debug) return {}
  return {
    onStep: (plan, { column, index }) => {
      const step = plan[column][index]
      if (step !== undefined) logDebug(globals, `${column} ${describeStep(step)}`)
    },
  }
}
