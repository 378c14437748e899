import type { Plan, Step } from '../model/step.ts'
import { describeStep } from './words.ts'

/**
 * The plan as people read it: what the stage does on the host's side at the left margin, what the container's first
 * process does indented, the meeting points between them in the order of time.
 */
export function formatPlan(plan: Plan): string {
  const lines: string[] = [
    'parent                        (the stage, on the host)',
    '    child                     (the first process, in the container)',
    '',
  ]
  const child = [...plan.child]
  const childUntil = (stop: (step: Step) => boolean): void => {
    while (child.length > 0) {
      const step = child.shift() as Step
      lines.push(`    ${describeStep(step)}`)
      if (stop(step)) return
    }
  }
  for (const step of plan.parent) {
    // What the stage waits for, the child does first.
    if (step.op === 'wait') childUntil((other) => other.op === 'notify' && other.point === step.point)
    if (step.op === 'recv_fd') childUntil((other) => other.op === 'send_fd')
    lines.push(describeStep(step))
    if (step.op === 'notify') childUntil((other) => other.op === 'wait' && other.point === step.point)
    if (step.op === 'send_fd') childUntil((other) => other.op === 'recv_fd')
  }
  childUntil(() => false)
  if (plan.pumps.length > 0) lines.push('', 'while it runs')
  for (const pump of plan.pumps) lines.push(`copy from=${pump.from} to=${pump.to}`)
  if (plan.teardown.length > 0) lines.push('', 'afterwards')
  for (const step of plan.teardown) lines.push(describeStep(step))
  return `${lines.join('\n')}\n`
}
