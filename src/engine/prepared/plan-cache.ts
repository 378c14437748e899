import type { LaunchSpec } from '../../model/launch.ts'
import type { Plan } from '../../model/step.ts'
import { encodePlan } from '../../plan/encode.ts'
import { fillIn, type Identity, macDigits, type Template } from '../../plan/template.ts'
import { type Learned, learn } from './learned.ts'

/** A plan, and as the stage reads it. */
export interface EncodedPlan {
  /** Its columns are compiled when somebody asks for them: when a step has failed. */
  readonly plan: Plan
  readonly bytes: () => Buffer
  /** The same for a container of another identity; absent where nobody knows yet that it depends on that alone. */
  readonly template?: ProvenTemplate
}

/** The same object for all starts of which it holds: with the same identity, too, their bytes are the same. */
export interface ProvenTemplate {
  /** Writes the bytes for an identity whose name and numbers have as many characters as `like`'s. */
  fill(identity: Identity, onto: Buffer<ArrayBuffer>): void
  readonly like: Identity
  readonly size: number
}

/** What is known of starts that differ in nothing but the identity. */
interface Known {
  readonly learned: Learned
  readonly ends: Pick<Plan, 'pumps' | 'inherited' | 'held'>
  proven?: ProvenTemplate
}

const MOST = 32
const known = new Map<string, Known>()

/**
 * Plans of a process that starts many containers: what two starts of the same request have shown to depend on the
 * identity alone, and a third has confirmed, is filled in from then on, instead of being compiled and encoded.
 */
export function planFor(spec: LaunchSpec, identity: Identity, compile: () => Plan): EncodedPlan {
  const key = keyOf(spec, identity)
  const before = known.get(key)
  if (before?.proven !== undefined) {
    const { proven } = before
    let bytes: Buffer | undefined
    return { plan: lazily(compile, before.ends), bytes: () => (bytes ??= filled(proven, identity)), template: proven }
  }
  const plan = compile()
  const bytes = encodePlan(plan, { monitor: true, trace: false })
  if (before === undefined) {
    if (known.size >= MOST) known.delete(known.keys().next().value ?? '')
    const { pumps, inherited, held } = plan
    const ends = { pumps, inherited, ...(held === undefined ? {} : { held }) }
    known.set(key, { learned: { sample: { bytes, identity } }, ends })
  } else {
    learn(before.learned, { bytes, identity })
    const { proven } = before.learned
    if (proven !== undefined) before.proven = provenOf(proven, identity)
  }
  return { plan, bytes: () => bytes }
}

/** The bytes of a plan for an identity. */
export function filled(template: ProvenTemplate, identity: Identity): Buffer {
  const bytes = Buffer.alloc(template.size)
  template.fill(identity, bytes)
  return bytes
}

function provenOf(template: Template, like: Identity): ProvenTemplate {
  const fill = (identity: Identity, onto: Buffer<ArrayBuffer>): void => {
    onto.set(template.bytes)
    fillIn(template, identity, onto)
  }
  return { fill, like, size: template.bytes.length }
}

function lazily(compile: () => Plan, ends: Known['ends']): Plan {
  let made: Plan | undefined
  const full = (): Plan => (made ??= compile())
  return {
    ...ends,
    get parent() {
      return full().parent
    },
    get child() {
      return full().child
    },
    get teardown() {
      return full().teardown
    },
  }
}

/** Programs are the same objects again and again: a number stands for each. */
const numbers = new WeakMap<Uint8Array, number>()
let next = 0
function numberOf(program: Uint8Array): number {
  const found = numbers.get(program) ?? next++
  numbers.set(program, found)
  return found
}

/** All that the plan is compiled from, with a mark where the identity stands; no text of a spec has a NUL byte. */
function keyOf(spec: LaunchSpec, identity: Identity): string {
  const { id, name, firstId, ip = '', ip6 = '' } = identity
  const { seccomp, cgroup, ...rest } = spec
  const filter = cgroup?.deviceFilter
  const text = JSON.stringify({
    ...rest,
    ...(seccomp === undefined ? {} : { seccomp: { ...seccomp, program: numberOf(seccomp.program) } }),
    ...(cgroup === undefined
      ? {}
      : { cgroup: { ...cgroup, deviceFilter: filter instanceof Uint8Array ? numberOf(filter) : filter } }),
  })
  const same = text
    .replaceAll(id, '\0id')
    .replaceAll(id.slice(0, 32), '\0tag')
    .replaceAll(id.slice(0, 12), '\0short')
    .replaceAll(id.slice(0, 11), '\0link')
    .replaceAll(macDigits(identity), '\0mac')
    .replaceAll(name, '\0name')
    .replaceAll(String(firstId), '\0first')
  const addressed = [ip6, ip].filter(Boolean).reduce((rest, address) => rest.replaceAll(address, '\0ip'), same)
  return `${name.length} ${String(firstId).length} ${ip.length} ${ip6.length} ${addressed}`
}
