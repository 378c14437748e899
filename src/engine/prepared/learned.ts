import { fillIn, makeTemplate, type Sample, type Template } from '../../plan/template.ts'

/** What is known of bytes that are made again and again for other identities. */
export interface Learned {
  sample: Sample
  template?: Template
  /** A third sample has shown that it holds. */
  proven?: Template
}

/**
 * Another sample: two show what depends on the identity alone, and a third confirms it. One that does not is the first of
 * what is made from now on.
 */
export function learn(learned: Learned, sample: Sample): void {
  const { template } = learned
  if (template !== undefined) {
    if (fillIn(template, sample.identity).equals(sample.bytes)) learned.proven = template
    else {
      delete learned.template
      delete learned.proven
      learned.sample = sample
    }
    return
  }
  const [one, other] = [learned.sample.identity, sample.identity]
  // What is the same in both by chance would pass for what is the same in all.
  if (one.id[0] === other.id[0] || one.name === other.name || one.firstId === other.firstId) return
  if (isSame(one.ip, other.ip) || isSame(one.ip6, other.ip6)) return
  const made = makeTemplate(learned.sample, sample)
  if (made === undefined) learned.sample = sample
  else learned.template = made
}

const isSame = (one: string | undefined, other: string | undefined): boolean => one !== undefined && one === other
