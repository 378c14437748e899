import { TemplateError } from './error.ts'

export type Token =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'open' }
  | { readonly type: 'close' }
  | { readonly type: 'name'; readonly text: string }
  | { readonly type: 'literal'; readonly value: string | number }
  /** `glued`: no blank before it, as in `(index .A 0).B`. */
  | { readonly type: 'field'; readonly path: readonly string[]; readonly glued: boolean }
  | { readonly type: 'variable'; readonly text: string; readonly path: readonly string[] }
  | { readonly type: 'sign'; readonly text: string }

/** Texts, and for each action `open`, its words, `close`. Throws TemplateError. */
export function tokenize(template: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  let trimNext = false
  const pushText = (text: string): void => {
    if (text !== '') tokens.push({ type: 'text', text })
  }
  for (;;) {
    const open = template.indexOf('{{', at)
    const text = template.slice(at, open < 0 ? undefined : open)
    const left = trimNext ? text.trimStart() : text
    if (open < 0) {
      pushText(left)
      return tokens
    }
    const trimsLeft = /^-\s/.test(template.slice(open + 2, open + 4))
    pushText(trimsLeft ? left.trimEnd() : left)
    const start = open + (trimsLeft ? 3 : 2)
    const action = readAction(template, start)
    tokens.push(...action.tokens)
    trimNext = action.trims
    at = action.end
  }
}

const WORD = {
  blank: /\s+/y,
  close: /(\s-)?\}\}/y,
  comment: /\/\*[\s\S]*?\*\/\s*(-)?\}\}/y,
  quoted: /"(?:[^"\\\n]|\\.)*"/y,
  raw: /`[^`]*`/y,
  number: /[+-]?[0-9]+(?:\.[0-9]+)?(?![\w.])/y,
  field: /\.(?:[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*)?/uy,
  variable: /\$([\p{L}\p{N}_]*)((?:\.[\p{L}_][\p{L}\p{N}_]*)*)/uy,
  name: /[\p{L}_][\p{L}\p{N}_]*/uy,
  sign: /:=|[=|(),]/y,
} as const

/** The words of one action, from behind `{{` to behind `}}`. */
function readAction(template: string, start: number): { tokens: Token[]; end: number; trims: boolean } {
  let at = start
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(template) ?? undefined
    if (found !== undefined) at = pattern.lastIndex
    return found
  }
  match(WORD.blank)
  const comment = match(WORD.comment)
  if (comment !== undefined) return { tokens: [], end: at, trims: comment[1] !== undefined }
  const tokens: Token[] = [{ type: 'open' }]
  for (;;) {
    const close = match(WORD.close)
    if (close !== undefined) return { tokens: [...tokens, { type: 'close' }], end: at, trims: close[1] !== undefined }
    const blank = match(WORD.blank) !== undefined
    if (at >= template.length) throw new TemplateError('an action is not closed: }} is missing')
    // `-}}` needs its blank, which has just been taken.
    if (blank && template.startsWith('-}}', at))
      return { tokens: [...tokens, { type: 'close' }], end: at + 3, trims: true }
    if (template.startsWith('}}', at)) continue
    tokens.push(readWord(match, template, at, blank))
  }
}

function readWord(
  match: (pattern: RegExp) => RegExpExecArray | undefined,
  template: string,
  at: number,
  blank: boolean,
): Token {
  const quoted = match(WORD.quoted)
  if (quoted !== undefined) return { type: 'literal', value: unquote(quoted[0]) }
  const raw = match(WORD.raw)
  if (raw !== undefined) return { type: 'literal', value: raw[0].slice(1, -1) }
  const number = match(WORD.number)
  if (number !== undefined) return { type: 'literal', value: Number(number[0]) }
  const field = match(WORD.field)
  if (field !== undefined) return { type: 'field', path: pathOf(field[0]), glued: !blank }
  const variable = match(WORD.variable)
  if (variable !== undefined) return { type: 'variable', text: variable[1] ?? '', path: pathOf(variable[2] ?? '') }
  const name = match(WORD.name)
  if (name !== undefined) return { type: 'name', text: name[0] }
  const sign = match(WORD.sign)
  if (sign !== undefined) return { type: 'sign', text: sign[0] }
  throw new TemplateError(`unexpected ${JSON.stringify(template.slice(at, at + 10))}`)
}

function pathOf(text: string): string[] {
  return text.split('.').filter((part) => part !== '')
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
}

/** Go's interpreted string literal. */
function unquote(literal: string): string {
  return literal.slice(1, -1).replace(/\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)/g, (_, escape: string) => {
    const plain = ESCAPES[escape]
    if (plain !== undefined) return plain
    if (escape.length === 1) throw new TemplateError(`unknown escape \\${escape} in a string`)
    return String.fromCharCode(Number.parseInt(escape.slice(1), 16))
  })
}
