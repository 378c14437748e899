import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf } from '../src/model/errors.ts'
import { PARSED_KB } from './budget.ts'
import { command, type Row } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

const VERBS = ['create', 'start', 'state', 'delete'] as const
const SUM = 'create + start + delete'

/**
 * What an engine calls for one container, by OCI runtime: each verb as a command of its own, one runtime after the other
 * in every round. `state` is asked twice by most engines and is not in the sum.
 */
export async function ociVerbs({ root, work, run }: Stage, contest: Contest, rounds: number): Promise<Group> {
  // What slows the start of any Node is measured in the first group.
  const { NODE_EXTRA_CA_CERTS: _, ...plain } = process.env
  // A container that waits for `start` is not waited for.
  const env = { ...plain, TIMER_LEAVE: '1' }
  const runtimes: Readonly<Record<string, readonly string[]>> = {
    tscrun: [join(root, 'bin/tscrun-runtime'), '--root', join(run, 'oci-tscrun')],
    ...(contest.peers.includes('runc') ? { runc: ['runc', '--root', join(run, 'oci-runc')] } : {}),
    // Its device filter needs CAP_SYS_RESOURCE, for the limit on locked memory.
    ...(contest.peers.includes('crun')
      ? { crun: ['crun', '--cgroup-manager=disabled', '--root', join(run, 'oci-crun')] }
      : {}),
  }
  const samples = new Map<string, number[]>()
  const add = (row: string, ms: number): void => void samples.set(row, [...(samples.get(row) ?? []), ms])
  for (let round = 0; round <= rounds; round++) {
    for (const [name, argv] of Object.entries(runtimes)) {
      const took = await oneContainer(name, argv, { timer: contest.timer, env, bundle: join(work, 'bundle'), run })
      if (round === 0) continue
      for (const verb of VERBS) add(`${name} ${verb}`, took[verb])
      add(`${name} ${SUM}`, took.create + took.start + took.delete)
    }
  }
  const names = [SUM, ...VERBS].flatMap((verb) => Object.keys(runtimes).map((name) => `${name} ${verb}`))
  const rows = names.map((name): Row => ({ name, samples: samples.get(name) ?? [] }))
  return { name: 'oci', title: 'verbs of an OCI runtime, ms', rows, subject: `tscrun ${SUM}` }
}

/** What a verb parses where Node does it: all that is ordinary about start, state, kill and delete needs none. */
export function parsedByVerb({ root }: Pick<Stage, 'root'>): Group {
  const rows = Object.keys(PARSED_KB).map((verb): Row => {
    return { name: `tscrun ${verb}`, samples: [statSync(join(root, 'dist/runtime', verb, 'main.cjs')).size / 1000] }
  })
  return { name: 'parsed', title: 'JavaScript of a verb of the OCI runtime, kB', rows, subject: 'tscrun create' }
}

interface Surroundings {
  readonly timer: string
  readonly env: NodeJS.ProcessEnv
  readonly bundle: string
  readonly run: string
}

async function oneContainer(
  name: string,
  argv: readonly string[],
  { timer, env, bundle, run }: Surroundings,
): Promise<Record<(typeof VERBS)[number], number>> {
  const pidFile = join(run, `${name}.pid`)
  const id = `bench-${name}`
  const timed = (...words: readonly string[]): Promise<number> =>
    command(`${name} ${words[0]}`, [...argv, ...words], { timer, env }).run()
  const create = await timed('create', '--bundle', bundle, '--pid-file', pidFile, id)
  const state = await timed('state', id)
  const start = await timed('start', id)
  await hasEnded(Number(readFileSync(pidFile, 'latin1')))
  const took = { create, state, start, delete: await timed('delete', id) }
  rmSync(pidFile)
  return took
}

/** Its parent, whoever adopted it, may still have to collect it. */
async function hasEnded(pid: number): Promise<void> {
  for (;;) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
      if (text[text.lastIndexOf(')') + 2] === 'Z') return
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return
      throw error
    }
    await sleep(1)
  }
}
