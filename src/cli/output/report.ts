/**
 * An object as indented `Key: value` lines, lists as `- item`: what `info` and `version` print without `--format`.
 * Values are aligned within one level.
 */
export function formatReport(object: Readonly<Record<string, unknown>>, indent = ''): string {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined)
  const plain = entries.filter(([, value]) => !isNested(value))
  const width = Math.max(0, ...plain.map(([key]) => key.length)) + 2
  return entries
    .map(([key, value]) => {
      if (Array.isArray(value) && value.length > 0)
        return `${indent}${key}:\n${value.map((item) => formatItem(item, indent)).join('')}`
      if (isNested(value)) return `${indent}${key}:\n${formatReport(value as Record<string, unknown>, `${indent} `)}`
      return `${indent}${`${key}:`.padEnd(width)}${scalar(value)}\n`
    })
    .join('')
}

function isNested(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    (Array.isArray(value) ? value.length > 0 : Object.keys(value).length > 0)
  )
}

function formatItem(item: unknown, indent: string): string {
  if (!isNested(item) || Array.isArray(item)) return `${indent} - ${scalar(item)}\n`
  const lines = formatReport(item as Record<string, unknown>, `${indent}   `)
  return `${indent} - ${lines.slice(indent.length + 3)}`
}

function scalar(value: unknown): string {
  if (value === null) return 'none'
  if (typeof value === 'object') return Array.isArray(value) ? value.join(', ') : ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}
