import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * The messages of each error code as the sources word them: `new TscrunError('CODE', <text>` becomes a pattern in which
 * every `${...}` matches anything. Messages that come as a variable are not among them.
 */
export function errorTemplates(directory: string): ReadonlyMap<string, readonly RegExp[]> {
  const found = new Map<string, RegExp[]>()
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
    const source = readFileSync(join(entry.parentPath, entry.name), 'utf8')
    for (const match of source.matchAll(/new TscrunError\(\s*'([A-Z_]+)',\s*(['`])/g)) {
      const [, code = '', quote = ''] = match
      const pattern = patternOf(source, match.index + match[0].length, quote)
      found.set(code, [...(found.get(code) ?? []), pattern])
    }
  }
  return found
}

/** From behind the opening quote to the closing one; what stands in `${}` may hold quotes and braces of its own. */
function patternOf(source: string, start: number, quote: string): RegExp {
  let pattern = ''
  let depth = 0
  for (let at = start; at < source.length; at++) {
    const char = source[at] ?? ''
    if (depth === 0 && char === quote) break
    if (depth === 0 && quote === '`' && source.startsWith('${', at)) {
      pattern += '.*'
      depth = 1
      at++
    } else if (depth > 0) depth += char === '{' ? 1 : char === '}' ? -1 : 0
    else if (char === '\\') pattern += escaped(source[++at] ?? '')
    else pattern += escaped(char)
  }
  return new RegExp(`^${pattern}(?: \\(.*\\))?$`)
}

function escaped(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&')
}
