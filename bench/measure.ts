import { execa } from 'execa'

/** Something that is timed: answers the milliseconds of one run. */
export interface Contender {
  readonly name: string
  run(): Promise<number>
}

/** The samples of one contender, milliseconds in the order they were taken. */
export interface Row {
  readonly name: string
  readonly samples: readonly number[]
}

/** A, B, C, A, B, C ...: what disturbs the machine disturbs all of them. The first round warms up and is dropped. */
export async function interleave(contenders: readonly Contender[], rounds: number): Promise<Row[]> {
  const rows = contenders.map(({ name, run }) => ({ name, run, samples: [] as number[] }))
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      const took = await row.run()
      if (round > 0) row.samples.push(took)
    }
  }
  return rows.map(({ name, samples }) => ({ name, samples }))
}

/** The value that `share` (0 to 1) of the samples do not exceed; NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

export const p50 = (samples: readonly number[]): number => percentile(samples, 0.5)

export interface CommandOptions {
  readonly timer: string
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly count?: number
  readonly jobs?: number
  /** A command that the timer is run by, e.g. `nsenter -t 7 -n`. */
  readonly within?: readonly string[]
}

/**
 * A command as a contender; the timer measures from its start to its end. Throws where a run fails. The event loop goes on
 * meanwhile, as that of a resident process does: one that is blocked until the next `run()` begins no container for it.
 */
export function command(name: string, argv: readonly string[], options: CommandOptions): Contender {
  const { timer, env = process.env, cwd, count = 1, jobs = 1, within = [] } = options
  const ended = async ([program = '', ...args]: readonly string[]) =>
    execa(program, args, {
      env,
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
      ...(cwd === undefined ? {} : { cwd }),
    })
  return {
    name,
    run: async () => {
      const { stdout, exitCode, signal } = await ended([...within, timer, String(count), String(jobs), ...argv])
      if (signal !== undefined) throw new Error(`${name}: ended by ${signal}`)
      const [took, failed] = stdout.trim().split(' ').map(Number)
      if (exitCode !== 0 || took === undefined || failed !== 0) {
        const why = await ended([...within, ...argv])
        throw new Error(`${name}: ${failed ?? 'all'} of ${count} runs failed: ${argv.join(' ')}\n${why.stderr}`)
      }
      return took / 1e6
    },
  }
}

/** Milliseconds that an action takes. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const begin = process.hrtime.bigint()
  await action()
  return Number(process.hrtime.bigint() - begin) / 1e6
}
