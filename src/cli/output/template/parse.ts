import { TemplateError } from './error.ts'
import { type Token, tokenize } from './tokens.ts'

/**
 * The part of Go's text/template that `--format` needs: fields, variables, pipelines, functions, `if`, `else if`,
 * `with`, `range`, trim markers, comments (pkg.go.dev/text/template is the reference).
 */
export type Node =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'action'; readonly pipe: Pipe }
  | {
      readonly type: 'if' | 'with' | 'range'
      readonly pipe: Pipe
      readonly body: readonly Node[]
      readonly otherwise: readonly Node[]
    }

export interface Pipe {
  /** Variables set by the pipeline: one, or key and value in `range`. */
  readonly variables: readonly string[]
  /** `:=` makes them, `=` changes them. */
  readonly declares: boolean
  readonly commands: readonly (readonly Operand[])[]
}

export type Operand =
  | { readonly type: 'literal'; readonly value: string | number | boolean | null }
  /** `.A.B` of the current value; an empty path is the value itself. */
  | { readonly type: 'field'; readonly path: readonly string[] }
  | { readonly type: 'variable'; readonly name: string; readonly path: readonly string[] }
  | { readonly type: 'function'; readonly name: string }
  | { readonly type: 'group'; readonly pipe: Pipe; readonly path: readonly string[] }

interface Parser {
  readonly tokens: readonly Token[]
  next: number
}

/** Throws TemplateError. */
export function parseTemplate(text: string): readonly Node[] {
  const parser: Parser = { tokens: tokenize(text), next: 0 }
  const { nodes, end } = parseList(parser)
  if (end !== undefined) throw new TemplateError(`{{${end}}} without a beginning`)
  return nodes
}

/** Nodes up to `{{end}}` or `{{else}}`, which is taken; `end` is undefined at the end of the text. */
function parseList(parser: Parser): { readonly nodes: readonly Node[]; readonly end: 'end' | 'else' | undefined } {
  const nodes: Node[] = []
  for (;;) {
    const token = parser.tokens[parser.next++]
    if (token === undefined) return { nodes, end: undefined }
    if (token.type === 'text') {
      nodes.push({ type: 'text', text: token.text })
      continue
    }
    // Texts and actions alternate: any other token is inside an action, which parseAction has consumed.
    const word = peek(parser)
    if (word?.type === 'name' && (word.text === 'end' || word.text === 'else')) {
      parser.next++
      if (word.text === 'end') expectClose(parser)
      return { nodes, end: word.text }
    }
    if (word?.type === 'close') throw new TemplateError('an action is empty: {{}}')
    nodes.push(parseAction(parser))
  }
}

function parseAction(parser: Parser): Node {
  const word = peek(parser)
  if (word?.type === 'name' && (word.text === 'if' || word.text === 'with' || word.text === 'range')) {
    parser.next++
    return parseBlock(parser, word.text)
  }
  const pipe = parsePipe(parser)
  expectClose(parser)
  return { type: 'action', pipe }
}

function parseBlock(parser: Parser, type: 'if' | 'with' | 'range'): Node {
  const pipe = parsePipe(parser)
  expectClose(parser)
  const { nodes: body, end } = parseList(parser)
  if (end === undefined) throw new TemplateError(`{{${type}}} without {{end}}`)
  if (end === 'end') return { type, pipe, body, otherwise: [] }
  const word = peek(parser)
  if (word?.type === 'name' && word.text === type && type !== 'range') {
    parser.next++
    // `{{else if}}` shares the `{{end}}` of the block it stands in.
    return { type, pipe, body, otherwise: [parseBlock(parser, type)] }
  }
  expectClose(parser)
  const rest = parseList(parser)
  if (rest.end !== 'end') throw new TemplateError(`{{else}} of {{${type}}} without {{end}}`)
  return { type, pipe, body, otherwise: rest.nodes }
}

function parsePipe(parser: Parser): Pipe {
  const { variables, declares } = parseVariables(parser)
  const commands: Operand[][] = [[]]
  for (;;) {
    const token = peek(parser)
    if (token === undefined || token.type === 'close' || (token.type === 'sign' && token.text === ')')) break
    parser.next++
    if (token.type === 'sign' && token.text === '|') commands.push([])
    else commands.at(-1)?.push(parseOperand(parser, token))
  }
  if (commands.some((command) => command.length === 0)) throw new TemplateError('a command is missing')
  return { variables, declares, commands }
}

/** `$x :=`, `$x =`, `$i, $x :=` at the start of a pipeline. */
function parseVariables(parser: Parser): Pick<Pipe, 'variables' | 'declares'> {
  const start = parser.next
  const variables: string[] = []
  for (;;) {
    const token = peek(parser)
    if (token?.type !== 'variable' || token.path.length > 0) break
    variables.push(token.text)
    const sign = parser.tokens[parser.next + 1]
    parser.next += 2
    if (sign?.type !== 'sign') break
    if (sign.text === ':=' || sign.text === '=') return { variables, declares: sign.text === ':=' }
    if (sign.text !== ',' || variables.length > 1) break
  }
  parser.next = start
  return { variables: [], declares: false }
}

function parseOperand(parser: Parser, token: Token): Operand {
  if (token.type === 'literal') return { type: 'literal', value: token.value }
  if (token.type === 'field') return { type: 'field', path: token.path }
  if (token.type === 'variable') return { type: 'variable', name: token.text, path: token.path }
  if (token.type === 'name') {
    if (token.text === 'true' || token.text === 'false') return { type: 'literal', value: token.text === 'true' }
    return token.text === 'nil' ? { type: 'literal', value: null } : { type: 'function', name: token.text }
  }
  if (token.type === 'sign' && token.text === '(') {
    const pipe = parsePipe(parser)
    const close = parser.tokens[parser.next++]
    if (close?.type !== 'sign' || close.text !== ')') throw new TemplateError('a ) is missing')
    const after = peek(parser)
    const glued = after?.type === 'field' && after.glued
    if (glued) parser.next++
    return { type: 'group', pipe, path: glued ? after.path : [] }
  }
  throw new TemplateError(`unexpected ${'text' in token ? token.text : token.type}`)
}

function expectClose(parser: Parser): void {
  const token = parser.tokens[parser.next++]
  if (token?.type !== 'close')
    throw new TemplateError(`unexpected ${token !== undefined && 'text' in token ? token.text : 'end'}`)
}

function peek(parser: Parser): Token | undefined {
  return parser.tokens[parser.next]
}
