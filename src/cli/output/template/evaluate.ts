import { closest } from '../../../model/closest.ts'
import { TemplateError } from './error.ts'
import { callFunction, formatValue, isTrue } from './functions.ts'
import { type Node, type Operand, parseTemplate, type Pipe } from './parse.ts'

export { TemplateError } from './error.ts'

/** Makes a function that fills the template in for one value. Both throw TemplateError. */
export function compileTemplate(text: string): (data: unknown) => string {
  const nodes = parseTemplate(text)
  return (data) => render(nodes, { dot: data, variables: new Map([['', { value: data }]]) })
}

interface Scope {
  readonly dot: unknown
  /** By name without `$`; the boxes are shared with inner scopes, so that `=` reaches the outer variable. */
  readonly variables: Map<string, { value: unknown }>
}

function render(nodes: readonly Node[], scope: Scope): string {
  let text = ''
  for (const node of nodes) text += renderNode(node, scope)
  return text
}

function renderNode(node: Node, scope: Scope): string {
  switch (node.type) {
    case 'text':
      return node.text
    case 'action': {
      const value = evaluatePipe(node.pipe, scope)
      return node.pipe.variables.length > 0 ? '' : formatValue(value)
    }
    case 'if':
    case 'with': {
      const inner = innerScope(scope)
      const value = evaluatePipe(node.pipe, inner)
      if (!isTrue(value)) return render(node.otherwise, inner)
      return render(node.body, node.type === 'with' ? { ...inner, dot: value } : inner)
    }
    case 'range':
      return renderRange(node, scope)
    default:
      return node satisfies never
  }
}

function renderRange(node: Extract<Node, { pipe: Pipe; body: readonly Node[] }>, scope: Scope): string {
  const entries = entriesOf(evaluatePipe({ ...node.pipe, variables: [] }, scope))
  if (entries.length === 0) return render(node.otherwise, innerScope(scope))
  return entries
    .map(([key, value]) => {
      const inner = { ...innerScope(scope), dot: value }
      // One variable is the value; two are key and value.
      const [first, second] = node.pipe.variables
      if (first !== undefined) inner.variables.set(first, { value: second === undefined ? value : key })
      if (second !== undefined) inner.variables.set(second, { value })
      return render(node.body, inner)
    })
    .join('')
}

function entriesOf(value: unknown): (readonly [unknown, unknown])[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return [...value.entries()]
  if (typeof value === 'object') return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  throw new TemplateError(`range cannot go over ${formatValue(value)}`)
}

function innerScope(scope: Scope): Scope {
  return { dot: scope.dot, variables: new Map(scope.variables) }
}

function evaluatePipe(pipe: Pipe, scope: Scope): unknown {
  let value: unknown
  for (const [index, command] of pipe.commands.entries())
    value = evaluateCommand(command, scope, index > 0 ? [value] : [])
  for (const name of pipe.variables) {
    const box = scope.variables.get(name)
    if (pipe.declares) scope.variables.set(name, { value })
    else if (box === undefined) throw new TemplateError(`undefined variable $${name}`)
    else box.value = value
  }
  return value
}

/** `piped` is the result of the command before, which comes last among the arguments. */
function evaluateCommand(command: readonly Operand[], scope: Scope, piped: readonly unknown[]): unknown {
  const [first, ...rest] = command
  if (first === undefined) return undefined
  if (first.type === 'function')
    return callFunction(first.name, [...rest.map((word) => evaluateOperand(word, scope)), ...piped])
  const value = evaluateOperand(first, scope)
  const args = [...rest.map((word) => evaluateOperand(word, scope)), ...piped]
  // A method, as `.Label "key"`.
  if (typeof value === 'function') return (value as (...given: readonly unknown[]) => unknown)(...args)
  if (args.length > 0) throw new TemplateError('only functions take arguments')
  return value
}

function evaluateOperand(operand: Operand, scope: Scope): unknown {
  switch (operand.type) {
    case 'literal':
      return operand.value
    case 'field':
      return follow(scope.dot, operand.path)
    case 'variable': {
      const box = scope.variables.get(operand.name)
      if (box === undefined) throw new TemplateError(`undefined variable $${operand.name}`)
      return follow(box.value, operand.path)
    }
    case 'function':
      return callFunction(operand.name, [])
    case 'group':
      return follow(evaluatePipe(operand.pipe, scope), operand.path)
    default:
      return operand satisfies never
  }
}

/**
 * `.A.B`. A missing name is an error where it looks like one of docker's field names, which begin with a capital;
 * others are keys of maps (labels), where nothing is there.
 */
function follow(value: unknown, path: readonly string[]): unknown {
  let current = value
  for (const name of path) {
    if (current === null || current === undefined) return undefined
    if (typeof current !== 'object' || Array.isArray(current))
      throw new TemplateError(`.${name}: ${formatValue(current)} has no fields`)
    if (!Object.hasOwn(current, name) && /^\p{Lu}/u.test(name)) {
      const near = closest(name, Object.keys(current))
      throw new TemplateError(`no field .${name}${near === undefined ? '' : `, did you mean .${near}?`}`)
    }
    current = Object.hasOwn(current, name) ? (current as Record<string, unknown>)[name] : undefined
  }
  return current
}
