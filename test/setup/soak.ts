/** How long a soak is, and what it picks at random: little in CI, `npm run soak` (scripts/soak.mjs) asks for all of it. */
export interface Soak {
  /** `TSCRUN_SOAK_<NAME>`, or what CI does. */
  readonly count: number
  /** `TSCRUN_SEED`, a number, or `random`; the same in every run if absent. */
  readonly seed: number
}

export function soakOf(name: string, usual: number): Soak {
  const count = Number(process.env[`TSCRUN_SOAK_${name.toUpperCase()}`] ?? usual)
  const asked = process.env['TSCRUN_SEED'] ?? '20261121'
  return { count, seed: asked === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(asked) }
}

/** The same numbers for the same seed, 0 <= x < 1 (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }
}
