import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { packageRoot } from '../src/syscall/package-root.ts'
import { ociVerbs, parsedByVerb } from './oci.ts'
import { bridge } from './bridge.ts'
import { mergeResults, type Results, resultsName } from './keep.ts'
import { logs, memory } from './monitor.ts'
import { pull } from './pull.ts'
import { formatGoals, formatGroup, goals } from './report.ts'
import { throughput } from './throughput.ts'
import { makeWorkplace } from './workplace.ts'
import {
  type Contest,
  type Group,
  inProcess,
  type Library,
  longestBlock,
  oneShot,
  parallel,
  prepareContest,
  type Stage,
} from './starts.ts'

// npm run bench: compares tscrun with Debian's runtimes in one run, and keeps what was measured in bench/results.
const USAGE = `npm run bench -- [--quick] [--only GROUP[,GROUP...]] [--no-save] [--realtime]
groups: one-shot, oci, parsed, in-process, block, parallel, memory, logs, bridge, throughput, pull`

const ROUNDS = {
  quick: {
    oneShot: 8,
    inProcess: 30,
    block: 10,
    parallel: 1,
    logs: 1,
    megabytes: 50,
    throughput: 3,
    gigabytes: 2,
    pull: 1,
    files: 20_000,
    fileBytes: 2048,
  },
  full: {
    oneShot: 50,
    inProcess: 300,
    block: 50,
    parallel: 5,
    logs: 5,
    megabytes: 200,
    throughput: 10,
    gigabytes: 4,
    pull: 5,
    files: 24_000,
    fileBytes: 19_000,
  },
} as const

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      realtime: { type: 'boolean' },
      only: { type: 'string' },
      'no-save': { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    console.log(USAGE)
    return
  }
  const rounds = ROUNDS[values.quick === true ? 'quick' : 'full']
  const only = values.only?.split(',')
  const root = packageRoot()
  const { work, run } = makeWorkplace()
  const library = (await import(pathToFileURL(join(root, 'dist/index.js')).href)) as Library
  const stage: Stage = { root, work, run, library }
  const contest = await prepareContest(stage)
  for (const line of contest.skipped) console.error(`bench: without ${line}`)
  const groups: Group[] = []
  for (const [name, measureGroup] of measurements(stage, contest, rounds)) {
    if (only !== undefined && !only.includes(name)) continue
    for (const group of [await measureGroup()].flat()) {
      console.log(formatGroup(group))
      groups.push(group)
    }
  }
  const list = goals(groups, values.quick !== true)
  console.log(formatGoals(list))
  if (values['no-save'] !== true)
    save(root, {
      quick: values.quick === true,
      realtime: values.realtime === true,
      skipped: contest.skipped,
      groups,
      goals: list,
    })
}

type Measurement = readonly [name: string, measure: () => Promise<Group | readonly Group[]>]

function measurements(stage: Stage, contest: Contest, rounds: (typeof ROUNDS)['quick' | 'full']): Measurement[] {
  return [
    ['one-shot', () => oneShot(stage, contest, rounds.oneShot)],
    ['oci', () => ociVerbs(stage, contest, rounds.oneShot)],
    ['parsed', async () => parsedByVerb(stage)],
    ['in-process', () => inProcess(contest, rounds.inProcess)],
    ['block', () => longestBlock(contest, rounds.block)],
    ['parallel', () => parallel(contest, rounds.parallel)],
    ['memory', () => memory(stage, contest, 5)],
    ['logs', () => logs(stage, contest, { rounds: rounds.logs, megabytes: rounds.megabytes })],
    ['bridge', () => bridge(stage, contest, rounds)],
    ['throughput', () => throughput(stage, contest, { rounds: rounds.throughput, gigabytes: rounds.gigabytes })],
    ['pull', () => pull(stage, contest, { rounds: rounds.pull, files: rounds.files, fileBytes: rounds.fileBytes })],
  ]
}

/** Raw samples in milliseconds, and what they were taken on: beside what other runs have measured of this commit today. */
function save(root: string, { groups, ...rest }: Omit<Results, 'date' | 'commit' | 'changed' | 'machine'>): void {
  const text = (program: string, ...args: string[]): string =>
    spawnSync(program, args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? ''
  const commit = text('git', 'rev-parse', '--short', 'HEAD')
  const changed = text('git', 'status', '--porcelain', '--', 'src', 'native', 'scripts', 'bin') !== ''
  const date = new Date().toISOString()
  const machine = {
    cpu: cpus()[0]?.model,
    cpus: cpus().length,
    memoryKib: Number(/^MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]),
    kernel: release(),
    load: readFileSync('/proc/loadavg', 'utf8').trim(),
    node: process.version,
    crun: text('crun', '--version').split('\n')[0],
    runc: text('runc', '--version').split('\n')[0],
    podman: text('podman', '--version'),
    skopeo: text('skopeo', '--version'),
    umoci: text('umoci', '--version'),
    containerd: text(join(root, 'test/.cache/packages/containerd/usr/bin/containerd'), '--version'),
  }
  const rounded = groups.map((group) => ({
    ...group,
    rows: group.rows.map(({ name, samples }) => ({
      name,
      samples: samples.map((sample) => Math.round(sample * 1000) / 1000),
    })),
  }))
  const directory = join(root, 'bench/results')
  mkdirSync(directory, { recursive: true })
  const now = { date, commit, changed, machine, ...rest, groups: rounded }
  const path = join(directory, resultsName(now))
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Results) : undefined
  // A line a row: small, and readable as a diff.
  const json = JSON.stringify(mergeResults(before, now), undefined, 1)
  writeFileSync(
    path,
    `${json.replaceAll(/\[\s+(-?[\d.,\s]+?)\s+\]/g, (_, list: string) => `[${list.replaceAll(/\s+/g, ' ')}]`)}\n`,
  )
  console.log(`kept in ${path.slice(root.length + 1)}`)
}

await main()
