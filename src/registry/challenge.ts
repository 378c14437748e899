/** One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1); names in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const PARAMETER = new RegExp(`(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`, 'y')
const SCHEME = new RegExp(`(${TOKEN})(?=\\s|,|$)`, 'y')

/** Parses the header's value; what cannot be read ends the list. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  let at = 0
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(header)
    if (found !== null) at = pattern.lastIndex
    return found
  }
  for (;;) {
    while (/[\s,]/.test(header.charAt(at))) at++
    if (at >= header.length) return challenges
    const parameter = match(PARAMETER)
    const current = challenges.at(-1)
    if (parameter !== null && current !== undefined) {
      const [, name = '', quoted, plain = ''] = parameter
      current.parameters.set(name.toLowerCase(), quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'))
      continue
    }
    const scheme = parameter === null ? match(SCHEME) : null
    if (scheme === null) return challenges
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters: new Map() })
  }
}
