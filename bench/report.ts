import { PARSED_KB } from './budget.ts'
import { percentile, p50 } from './measure.ts'
import { type Group, median } from './starts.ts'

/** What PERFORMANCE goals ask of one run; `bound` is in the unit of `actual`. */
export interface Goal {
  readonly text: string
  readonly actual: number
  readonly bound: number
}

/** Each row with p50, p90, and how much of its p50 the subject needs. */
export function formatGroup({ title, rows, subject, tree }: Group): string {
  const width = Math.max(...rows.map(({ name }) => name.length), 30)
  const own = p50(rows.find(({ name }) => name === subject)?.samples ?? [])
  const head = `${title}\n${''.padEnd(width)}${'p50'.padStart(10)}${'p90'.padStart(10)}${'n'.padStart(6)}   ${subject} / this`
  const lines = rows.map(({ name, samples }) => {
    const ratio = name === subject ? '' : (own / p50(samples)).toFixed(2)
    return `${name.padEnd(width)}${number(p50(samples))}${number(percentile(samples, 0.9))}${String(samples.length).padStart(6)}   ${ratio}`
  })
  if (tree !== undefined) lines.push(`the tree: ${tree.entries} names, all as ${tree.equalTo} has unpacked them`)
  return `${[head, ...lines.map((line) => line.trimEnd())].join('\n')}\n`
}

function number(value: number): string {
  return value.toFixed(value < 100 ? 2 : 0).padStart(10)
}

/** The goals that these groups can tell about; `full` where the image of the pull is as large as the goal's. */
export function goals(groups: readonly Group[], full: boolean): Goal[] {
  const group = (name: string): Group | undefined => groups.find((candidate) => candidate.name === name)
  const [one, resident, block, many] = ['one-shot', 'in-process', 'block', 'parallel'].map(group)
  const [oci, parsed] = ['oci', 'parsed'].map(group)
  const run = median(one, 'tscrun run --rm')
  const node = median(one, 'node -e 0')
  const own = median(resident, 'tscrun in process')
  const bridged = median(group('bridge'), 'tscrun run --rm, bridge')
  const list: Goal[] = [
    { text: 'one-shot run: bare node + 8 ms', actual: run, bound: node + 8 },
    { text: 'one-shot run: 25 ms (at least)', actual: run, bound: 25 },
    { text: 'one-shot run: 1/4 of podman', actual: run / median(one, 'podman'), bound: 1 / 4 },
    { text: 'one-shot run: 1/3 of podman (at least)', actual: run / median(one, 'podman'), bound: 1 / 3 },
    { text: 'version: bare node + 4 ms', actual: median(one, 'tscrun version'), bound: node + 4 },
    ...['start', 'state', 'delete'].map((verb): Goal => {
      const actual = median(oci, `tscrun ${verb}`) / median(oci, `crun ${verb}`)
      return { text: `OCI runtime, ${verb}: ahead of crun`, actual, bound: 1 }
    }),
    {
      text: 'OCI runtime, create + start + delete: ahead of runc',
      actual: median(oci, 'tscrun create + start + delete') / median(oci, 'runc create + start + delete'),
      bound: 1,
    },
    ...Object.entries(PARSED_KB).map(([verb, bound]): Goal => {
      return { text: `OCI runtime, ${verb}: kB of JavaScript`, actual: median(parsed, `tscrun ${verb}`), bound }
    }),
    { text: 'run in process: 2 ms', actual: own, bound: 2 },
    { text: 'run in process: 3 ms (at least)', actual: own, bound: 3 },
    { text: 'run in process: 1/3 of crun', actual: own / median(resident, 'crun'), bound: 1 / 3 },
    { text: 'run in process: ahead of crun (at least)', actual: own / median(resident, 'crun'), bound: 1 },
    { text: 'longest block of the event loop: 1 ms', actual: median(block, 'tscrun in process'), bound: 1 },
    { text: '100 starts one-shot: 1300 ms', actual: median(many, 'tscrun run --rm'), bound: 1300 },
    { text: '100 starts in process: 200 ms', actual: median(many, 'tscrun in process'), bound: 200 },
    {
      text: '100 starts in process: ahead of crun',
      actual: median(many, 'tscrun in process') / median(many, 'crun'),
      bound: 1,
    },
    { text: 'memory of an idle monitor: 100 kB', actual: median(group('memory'), 'tscrun, one'), bound: 100 },
    {
      text: 'output through the log: ahead of conmon',
      actual: median(group('logs'), 'tscrun') / median(group('logs'), 'conmon (podman)'),
      bound: 1,
    },
    { text: 'one-shot run with the bridge: 25 ms', actual: bridged, bound: 25 },
    {
      text: 'one-shot run with the bridge: 1/8 of podman',
      actual: bridged / median(group('bridge'), 'podman run --rm, its bridge'),
      bound: 1 / 8,
    },
    {
      text: 'run in process with the bridge: 3 ms',
      actual: median(group('bridge-in-process'), 'tscrun in process, bridge'),
      bound: 3,
    },
    {
      text: '100 starts with the bridge: 1/8 of podman',
      actual:
        median(group('bridge-parallel'), 'tscrun run --rm, bridge') /
        median(group('bridge-parallel'), 'podman run --rm, its bridge'),
      bound: 1 / 8,
    },
    {
      text: 'bridge: throughput within 10 % of podman',
      actual: median(group('throughput'), 'tscrun') / median(group('throughput'), 'podman (bridge)'),
      bound: 1.1,
    },
    ...pullGoals(group('pull, gzip'), 'gzip', full ? 1600 : Number.NaN),
    ...pullGoals(group('pull, zstd'), 'zstd', full ? 1400 : Number.NaN),
  ]
  return list.filter(({ actual, bound }) => !Number.isNaN(actual) && !Number.isNaN(bound))
}

function pullGoals(pulled: Group | undefined, format: string, boundMs: number): Goal[] {
  const own = median(pulled, 'tscrun pull')
  const beside = (name: string): number => own / median(pulled, name)
  return [
    { text: `pull and unpack, ${format}: ${boundMs} ms`, actual: own, bound: boundMs },
    { text: `pull and unpack, ${format}: 1/2 of podman`, actual: beside('podman pull'), bound: 0.5 },
    { text: `pull and unpack, ${format}: 0.8 of ctr`, actual: beside('ctr images pull'), bound: 0.8 },
  ]
}

export function formatGoals(list: readonly Goal[]): string {
  const lines = list.map(({ text, actual, bound }) => {
    const verdict = actual <= bound ? 'met' : 'missed'
    return `${verdict.padEnd(8)}${text.padEnd(52)}${number(actual)}  (<= ${bound.toFixed(2)})`
  })
  return `goals\n${lines.join('\n')}\n`
}
