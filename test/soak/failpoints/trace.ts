import { readFileSync } from 'node:fs'
import type { Machine } from '../../kernel/fixtures/machine.ts'

/** A system call that changes something, as failpoint.c has written it down. */
export interface Call {
  readonly role: string
  /** Which one it is of its role, from 1 on. */
  readonly number: number
  /** `mkdir STORE/containers/ID`: the call, and its paths without what differs from one run to the next. */
  readonly text: string
}

export interface Trace {
  readonly calls: readonly Call[]
  readonly killed: boolean
  /** Of containers and volumes that occur in it. */
  readonly ids: readonly string[]
  /** Of containers that got theirs in it. */
  readonly names: readonly string[]
}

export function readTrace(path: string, machine: Machine): Trace {
  const text = readFileSync(path, 'utf8')
  const lines = text.trimEnd().split('\n')
  const numbers = new Map<string, number>()
  const calls = lines.flatMap((line): Call[] => {
    const [role = '', call = '', ...paths] = line.split('\t')
    if (role === 'killed') return []
    const number = (numbers.get(role) ?? 0) + 1
    numbers.set(role, number)
    const plain = paths.map((path) => plainPath(path, machine)).join(' ')
    return [{ role, number, text: `${call} ${plain}`.trimEnd() }]
  })
  return {
    calls,
    killed: lines.at(-1)?.startsWith('killed\t') === true,
    ids: [...new Set(text.match(/\b[0-9a-f]{64}\b/g))],
    names: [...text.matchAll(/\tlink\t\S+\/names\/(\S+)/g)].map(([, name = '']) => name),
  }
}

function plainPath(path: string, machine: Machine): string {
  return path
    .replace(/^\/sys\/fs\/cgroup\/(?:unified\/)?/, 'CGROUP/')
    .replace(machine.store, 'STORE')
    .replace(machine.runRoot, 'RUN')
    .replace(/(?<=\/)(?:layer-)?[0-9a-f]{64}/g, (name) => (name.startsWith('layer-') ? 'layer-ID' : 'ID'))
    .replace(/^\/proc\/\d+\//, '/proc/PID/')
    .replace(/\.new-[^/]+/, '.new-')
    .replace(/\.gone-[^/]+/, '.gone-')
    .replace(/file-[^/]+/, 'file')
    .replace(/ \(deleted\)$/, '')
}
