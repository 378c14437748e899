import fc from 'fast-check'

/**
 * Generated cases are the same in every run, so that a change is judged by what it changes; `TSCRUN_SEED=random npm test`
 * looks further, and a number repeats such a run.
 */
const asked = process.env['TSCRUN_SEED'] ?? '20261121'
if (asked !== 'random') fc.configureGlobal({ seed: Number(asked) })
