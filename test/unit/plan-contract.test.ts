import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RANGE_SIZE } from '../../src/model/ids.ts'
import { COLUMN_NAMES, ERRNO, OPS, type FdSlot, type FieldKind, type Plan, type Step } from '../../src/model/step.ts'
import { encodePlan, PLAN_FLAGS } from '../../src/plan/encode.ts'
import { anyPlan } from './plan-arbitrary.ts'
import { decodePlan, sizeOf } from './plan-decoder.ts'
import { readPlanHeader } from './plan-header.ts'
import { decodeMessage, encodeMessage, MESSAGE, MESSAGE_BYTES } from '../../src/runtime/messages.ts'

const contract = readPlanHeader()
const number = (name: string): number => {
  const value = contract.numbers.get(name)
  if (value === undefined) throw new Error(`plan.h has no ${name}`)
  return value
}
const EMPTY: Plan = { parent: [], child: [], teardown: [], pumps: [], inherited: [] }
const encode = (plan: Partial<Plan>): Buffer => encodePlan({ ...EMPTY, ...plan }, { monitor: true, trace: false })

describe('native/plan.h and src/model/step.ts', () => {
  it('name the same ops', () => {
    expect(contract.ops.size).toBeGreaterThan(50)
    expect([...contract.ops.keys()].toSorted()).toEqual(Object.keys(OPS).toSorted())
  })

  it.each(Object.entries(OPS))('agree about %s: its code, and the kind of each argument in order', (name, op) => {
    expect({ code: op.code, signature: Object.values<FieldKind>(op.fields).join('') }).toEqual(contract.ops.get(name))
  })

  it('give every op a code of its own, and no more arguments than the C side holds', () => {
    expect(new Set(Object.values(OPS).map((op) => op.code)).size).toBe(contract.ops.size)
    for (const op of Object.values(OPS)) expect(Object.keys(op.fields).length).toBeLessThanOrEqual(number('MAX_ARGS'))
  })

  it('number the columns alike', () => {
    expect(COLUMN_NAMES.map((name) => number(`COLUMN_${name.toUpperCase()}`))).toEqual([0, 1, 2])
    expect(number('COLUMNS')).toBe(COLUMN_NAMES.length)
  })

  it("name tolerated errnos by the kernel's numbers", () => {
    for (const [name, value] of Object.entries(ERRNO))
      expect([name, constants.errno[name as keyof typeof ERRNO]]).toEqual([name, value])
  })
})

describe('native/plan.h and src/model/ids.ts', () => {
  it('agree about how many ids a container has', () => {
    expect(number('RANGE_SIZE')).toBe(RANGE_SIZE)
  })
})

describe('native/plan.h and src/runtime/messages.ts', () => {
  it('number the messages of the control socket alike', () => {
    const ours = new Map(Object.entries(MESSAGE).map(([name, value]) => [name.toUpperCase(), value]))
    const theirs = [...contract.numbers]
      .filter(([name]) => name.startsWith('MSG_'))
      .map(([name, value]) => [name.slice(4), value] as const)
    expect(ours).toEqual(new Map(theirs))
  })

  it('agree about the size of a message and where its fields lie', () => {
    expect(sizeOf(contract, 'message')).toBe(MESSAGE_BYTES)
    const offsets = [...(contract.structs.get('message')?.fields ?? [])].map(([name, { offset }]) => [name, offset])
    expect(Object.fromEntries(offsets)).toEqual({ type: 0, column: 4, step: 8, error: 12, a: 16, b: 24 })
    const bytes = encodeMessage(MESSAGE.resize, 7, 2 ** 40)
    expect(decodeMessage(bytes)).toEqual({
      type: 17,
      column: 'parent',
      step: 0,
      error: 0,
      a: 7n,
      b: 2n ** 40n,
      text: '',
    })
  })

  it('hand descriptors over at the same numbers', () => {
    const source = readFileSync(new URL('../../src/runtime/stage.ts', import.meta.url), 'utf8')
    // beginStage gives spawnStage [control, plan, ...inherited], which become 3, 4, 5, ...
    expect([number('CONTROL_FD'), number('PLAN_FD'), number('FIRST_INHERITED_FD')]).toEqual([3, 4, 5])
    expect(source).toContain('spawnStage([theirs, planFd, ...options.fds]')
  })
})

describe('an encoded plan', () => {
  it('has the header, steps and pumps of plan.h, and nothing else', () => {
    expect(encode({}).length).toBe(sizeOf(contract, 'plan_header'))
    expect(encode({ parent: [{ op: 'setsid' }] }).length).toBe(
      sizeOf(contract, 'plan_header') + sizeOf(contract, 'plan_step'),
    )
    const pumps = [{ from: 'fd:a', to: 'fd:a', kind: 'output' }] as const
    expect(encode({ inherited: ['fd:a'], pumps }).length).toBe(
      sizeOf(contract, 'plan_header') + sizeOf(contract, 'plan_pump'),
    )
  })

  it('has the magic number and the flags of plan.h', () => {
    expect(decodePlan(encode({}), contract).header).toMatchObject({
      magic: number('PLAN_MAGIC'),
      cgroup_slot: number('SLOT_NONE'),
      mntns_slot: number('SLOT_NONE'),
      late_slot: number('SLOT_NONE'),
    })
    expect(PLAN_FLAGS).toEqual({
      trace: number('PLAN_TRACE'),
      monitor: number('PLAN_MONITOR'),
      held: number('PLAN_HELD'),
    })
    const flagsOf = (monitor: boolean, trace: boolean): number | undefined =>
      decodePlan(encodePlan(EMPTY, { monitor, trace }), contract).header['flags']
    expect([flagsOf(false, false), flagsOf(false, true), flagsOf(true, false), flagsOf(true, true)]).toEqual([
      0, 1, 2, 3,
    ])
    expect(decodePlan(encode({ held: true }), contract).header['flags']).toBe(6)
  })

  it('is read back as it was, whatever its steps', () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        expect(decodePlan(encode(plan), contract)).toEqual(expected(plan))
      }),
      { numRuns: 1000, seed: 1 },
    )
  })

  it('grows as far as the stage takes it', () => {
    const bytes = Buffer.alloc(3_000_000, 7)
    const [step] = decodePlan(encode({ parent: [{ op: 'write_proc', file: 'x', bytes }] }), contract).columns[0] ?? []
    expect(bytes.equals(step?.args[1] as Buffer)).toBe(true)
  })

  const withNul: readonly Step[] = [
    { op: 'chdir', path: 'a\0b' },
    { op: 'chdir', path: '\0' },
    { op: 'set_env', env: ['A=1', 'B=\0'] },
    { op: 'exec', command: 'sh', args: ['sh', '\0-c'], path: '' },
    { op: 'sethostname', name: 'host\0' },
  ]
  it.each(withNul)('is refused where a text has a NUL byte: $op', (step) => {
    expect(() => encode({ parent: [step] })).toThrow(/NUL byte/)
  })

  it('is refused where a slot is read before a step fills it', () => {
    expect(() => encode({ parent: [{ op: 'fchdir', dir: 'fd:nowhere' }] })).toThrow(
      /fd:nowhere is read before any step fills it/,
    )
    expect(() => encode({ pumps: [{ from: 'fd:nowhere', to: 'fd:nowhere', kind: 'output' }] })).toThrow(/fd:nowhere/)
    expect(() => encode({ cgroup: 'fd:nowhere' })).toThrow(/fd:nowhere/)
    expect(() => encode({ mountNamespace: 'fd:nowhere' })).toThrow(/fd:nowhere/)
  })

  it('is refused with more slots than the stage has', () => {
    const opens = (count: number): Step[] =>
      Array.from({ length: count }, (_, index) => ({ op: 'fsopen', fs: `fd:${index}` as FdSlot, type: 'tmpfs' }))
    expect(decodePlan(encode({ parent: opens(number('MAX_SLOTS')) }), contract).header['slots']).toBe(
      number('MAX_SLOTS'),
    )
    expect(() => encode({ parent: opens(number('MAX_SLOTS') + 1) })).toThrow(/more than 2048 slots/)
  })

  it('is refused with more tolerated errnos than a step holds', () => {
    const places = (contract.structs.get('plan_step')?.fields.get('tolerate')?.size ?? 0) / 2
    const tolerate = (Object.keys(ERRNO) as (keyof typeof ERRNO)[]).slice(0, places + 1)
    expect(() => encode({ parent: [{ op: 'setsid', tolerate, because: 'a test' }] })).toThrow(/at most three/)
  })

  it('is refused with a number that no register holds', () => {
    expect(() => encode({ parent: [{ op: 'umask', mask: -1 }] })).toThrow(RangeError)
    expect(() => encode({ parent: [{ op: 'umask', mask: 2n ** 64n }] })).toThrow(RangeError)
    expect(() => encode({ parent: [{ op: 'umask', mask: 0.5 }] })).toThrow(RangeError)
  })
})

/** What the decoder should find, computed from the plan and plan.h's words, not from the encoder. */
function expected(plan: Plan): ReturnType<typeof decodePlan> {
  const slots = new Map<string, number>(plan.inherited.map((slot, index) => [slot, index]))
  const indexOf = (slot: string): number => {
    if (slot === 'cwd' || slot === 'none') return number(`SLOT_${slot.toUpperCase()}`)
    if (!slots.has(slot)) slots.set(slot, slots.size)
    return slots.get(slot) as number
  }
  const argument = (kind: FieldKind, value: unknown): bigint | string | Buffer | readonly string[] => {
    if (kind === 'u') return BigInt(value as number)
    if (kind === 'f' || kind === 'o') return BigInt(indexOf(value as string))
    return kind === 'b'
      ? Buffer.from(value as string)
      : kind === 's'
        ? wellFormed(value as string)
        : (value as string[]).map(wellFormed)
  }
  const columns = COLUMN_NAMES.map((name) =>
    plan[name].map((step) => ({
      op: step.op,
      tolerate: (step.tolerate ?? []).map((errno) => ERRNO[errno]),
      args: Object.entries<FieldKind>(OPS[step.op].fields).map(([field, kind]) =>
        argument(kind, (step as unknown as Record<string, unknown>)[field]),
      ),
    })),
  )
  const flags = {
    output: 0,
    error: number('PUMP_STDERR'),
    stdin: number('PUMP_STDIN'),
    'terminal-in': number('PUMP_STDIN') | number('PUMP_TERMINAL'),
  }
  const pumps = plan.pumps.map((pump) => ({ from: indexOf(pump.from), to: indexOf(pump.to), flags: flags[pump.kind] }))
  return {
    header: {
      magic: number('PLAN_MAGIC'),
      flags: number('PLAN_MONITOR'),
      slots: slots.size,
      inherited: plan.inherited.length,
      pumps: plan.pumps.length,
      cgroup_slot: plan.cgroup === undefined ? number('SLOT_NONE') : indexOf(plan.cgroup),
      mntns_slot: plan.mountNamespace === undefined ? number('SLOT_NONE') : indexOf(plan.mountNamespace),
      late_slot: plan.late === undefined ? number('SLOT_NONE') : indexOf(plan.late),
    },
    columns,
    pumps,
  }
}

/** UTF-8 has no half of a surrogate pair. */
function wellFormed(value: string): string {
  return Buffer.from(value).toString('utf8')
}
