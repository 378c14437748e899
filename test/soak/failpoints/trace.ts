import { readFileSync } from 'node:fs'
import type { Machine } from '../../kernel/fixtures/machine.ts'

/** A system call that changes something, as failpoint.c has written it down. */
export interface Call {
  /** Of the container's lives the one that its monitor has begun; 1 before. */
  readonly life: number
  readonly role: string
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
  const calls = lines.filter((line) => !line.startsWith('killed\t')).map((line) => readCall(line, machine))
  return {
    calls,
    killed: lines.at(-1)?.startsWith('killed\t') === true,
    ids: [...new Set(text.match(/\b[0-9a-f]{64}\b/g))],
    names: [...text.matchAll(/\tlink\t\S+\/names\/(\S+)/g)].map(([, name = '']) => name),
  }
}

/** A line of it: life, role, call, paths. */
export function readCall(line: string, machine: Machine): Call {
  const [life = '', role = '', call = '', ...paths] = line.split('\t')
  const plain = paths.map((path) => plainPath(path, machine)).join(' ')
  return { life: Number(life), role, text: `${call} ${plain}`.trimEnd() }
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
