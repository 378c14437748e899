import type { FdSlot, Plan } from '../model/step.ts'

/** The descriptors of a plan's inherited slots, in their order. Throws RangeError where one is not given. */
export function inheritedFds(plan: Plan, given: ReadonlyMap<FdSlot, number>): number[] {
  return plan.inherited.map((slot) => {
    const fd = given.get(slot)
    if (fd === undefined) throw new RangeError(`no descriptor for ${slot}`)
    return fd
  })
}
