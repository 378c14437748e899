import { type Flag, HELP_FLAG } from './flag.ts'

export const DIFF_FLAGS: readonly Flag[] = [
  { name: 'format', kind: 'string', value: 'format', help: "'json', a Go template, or 'table TEMPLATE'" },
  HELP_FLAG,
]

export const EXPORT_FLAGS: readonly Flag[] = [
  HELP_FLAG,
  { name: 'output', short: 'o', kind: 'string', value: 'file', help: 'Write to a file instead of standard output' },
]
