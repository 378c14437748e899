import { isDeepStrictEqual } from 'node:util'
import { errnoOf, TscrunError } from '../../model/errors.ts'

/** What of the machine can be compared with what it was. */
type Answer = string | number | boolean | undefined | readonly string[]

/** Asks the machine something that a decision depends on. */
export type Look = <T extends Answer>(ask: () => T) => T

export const justLook: Look = (ask) => ask()

/** Everything that was looked at while something was decided. */
export interface Sight {
  readonly look: Look
  /** Whether the machine answers the same now; no, where it refuses to answer. */
  isStillThere(): boolean
}

/** Notes what is looked at, to look once more before the decision is relied on. */
export function newSight(): Sight {
  const seen: { readonly ask: () => Answer; readonly answer: Answer }[] = []
  return {
    look: (ask) => {
      const answer = ask()
      seen.push({ ask, answer })
      return answer
    },
    isStillThere: () => {
      try {
        return seen.every(({ ask, answer }) => isDeepStrictEqual(ask(), answer))
      } catch (error) {
        // Whoever decides anew meets the same, and says what it is.
        if (errnoOf(error) !== undefined || error instanceof TscrunError) return false
        throw error
      }
    },
  }
}
