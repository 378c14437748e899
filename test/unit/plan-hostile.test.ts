import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, closeSync, copyFileSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/model/step.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import { nativeFile } from '../../src/syscall/ffi.ts'
import { sizeOf } from './plan-decoder.ts'
import { readPlanHeader } from './plan-header.ts'

const contract = readPlanHeader()
const HEADER = sizeOf(contract, 'plan_header')
const MESSAGE = sizeOf(contract, 'message')
const NATIVE = new URL('../../native/', import.meta.url).pathname

let directory = ''
/** The program as it is shipped, and one that notices every access outside of its memory. */
const programs: string[] = []

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-hostile-'))
  chmodSync(directory, 0o777)
  const checked = join(directory, 'stage')
  const sources = readdirSync(NATIVE).filter(
    (name) => name.endsWith('.c') && name !== 'launcher.c' && name !== 'spawn.c',
  )
  execFileSync(
    'cc',
    ['-std=gnu11', '-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-o', checked, ...sources],
    {
      cwd: NATIVE,
    },
  )
  // A copy: whoever is nobody may not reach the checkout.
  const shipped = join(directory, 'shipped')
  copyFileSync(nativeFile('stage'), shipped)
  programs.push(shipped, checked)
}, 120_000)

afterAll(() => rmSync(directory, { recursive: true }))

/** What a stage said and how it ended. It runs as nobody: what a hostile plan asks for must not happen to this machine. */
function feed(
  program: string,
  plan: Uint8Array,
): { readonly messages: Buffer; readonly status: number | null; readonly how: string } {
  const path = join(directory, 'plan')
  writeFileSync(path, plan)
  const fd = openSync(path, 'r')
  try {
    const root = process.getuid?.() === 0
    const result = spawnSync(program, [], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', fd],
      timeout: 10_000,
      killSignal: 'SIGKILL',
      env: { ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1' },
      ...(root ? { uid: 65534, gid: 65534 } : {}),
    })
    const said = result.stderr.toString('utf8')
    return {
      messages: result.output[3] as unknown as Buffer,
      status: result.status,
      how: `${result.signal ?? ''}${said}`,
    }
  } finally {
    closeSync(fd)
  }
}

/** Answers every plan and ends by itself: no signal, no word of the sanitizers, whole messages only. */
function expectSurvival(plan: Uint8Array): void {
  for (const program of programs) {
    const { messages, status, how } = feed(program, plan)
    expect({ how, status: status !== null }).toEqual({ how: '', status: true })
    expect(messages.length % MESSAGE).toBe(0)
    // 0: the plan was harmless still; 125: the child column ended; else the stage has told why.
    if (status !== 0 && status !== 125) expect(messages.length).toBeGreaterThan(0)
  }
}

/** Steps that change nothing outside of the process, one at least for each kind of argument. */
const HARMLESS: Plan = {
  parent: [
    { op: 'umask', mask: 0o22 },
    { op: 'open', fd: 'fd:here', dir: 'cwd', path: '.', flags: 0, mode: 0, resolve: 0 },
    { op: 'pipe', read: 'fd:read', write: 'fd:write' },
    { op: 'dup', fd: 'fd:read', onto: 20 },
    { op: 'close', fd: 'fd:read' },
    { op: 'set_env', env: ['PATH=/bin', 'A=b', ''] },
    { op: 'target', fd: 'fd:target', root: 'fd:here', path: 'a/b/c', kind: 0, mode: 0o755, like: 'none' },
    { op: 'setgroups', gids: Buffer.alloc(8), tolerate: ['EPERM'], because: 'nobody may not' },
    { op: 'fchdir', dir: 'fd:here' },
  ],
  child: [{ op: 'chdir', path: '/' }],
  teardown: [{ op: 'rmdir', dir: 'fd:here', path: 'a/b/c' }],
  pumps: [{ from: 'fd:here', to: 'fd:write', kind: 'output' }],
  inherited: [],
}
const valid = (monitor: boolean, trace: boolean): Buffer => encodePlan(HARMLESS, { monitor, trace })

const odd32 = fc.constantFrom(
  0,
  1,
  2,
  7,
  8,
  16,
  0x7f,
  0x80,
  0xff,
  0xffff,
  0x10000,
  0x7fffffff,
  0x80000000,
  0xfffffff0,
  0xfffffff8,
  0xffffffff,
)
const odd64 = fc.constantFrom(
  0n,
  1n,
  7n,
  8n,
  2n ** 24n,
  2n ** 24n + 1n,
  2n ** 31n,
  2n ** 32n - 8n,
  2n ** 32n,
  2n ** 63n,
  2n ** 64n - 9n,
  2n ** 64n - 8n,
  2n ** 64n - 1n,
)
const flags = fc.tuple(fc.boolean(), fc.boolean())

describe('the stage, given', () => {
  it('the plan that the hostile ones are made from, carries it out', () => {
    for (const program of programs) {
      const { messages, status, how } = feed(program, valid(true, true))
      expect({ how, status }).toEqual({ how: '', status: 0 })
      const types = Array.from({ length: messages.length / MESSAGE }, (_, index) =>
        messages.readUInt32LE(index * MESSAGE),
      )
      const [trace, exited] = [contract.numbers.get('MSG_TRACE'), contract.numbers.get('MSG_EXITED')]
      expect(types).toEqual([...HARMLESS.parent.map(() => trace), exited, trace])
    }
  })

  it('a plan cut off at every length, refuses it as a bad message before the first step', () => {
    const whole = valid(true, true)
    for (let length = 0; length < whole.length; length++) {
      const { messages, status, how } = feed(programs[1] ?? '', whole.subarray(0, length))
      expect({ length, how, status }).toEqual({ length, how: '', status: 1 })
      expect([messages.length, messages.readUInt32LE(0), messages.readUInt32LE(12)]).toEqual([
        MESSAGE,
        contract.numbers.get('MSG_FAILED'),
        74 /* EBADMSG */,
      ])
    }
  }, 120_000)

  it('more than it takes, refuses it', () => {
    const large = Buffer.alloc((contract.numbers.get('PLAN_MAX_BYTES') ?? 0) + 1)
    valid(false, false).copy(large)
    for (const program of programs) expect(feed(program, large).status).toBe(1)
  })

  it('noise, answers and ends', () => {
    const noise = fc.uint8Array({ maxLength: 400 })
    fc.assert(fc.property(noise, expectSurvival), { numRuns: 150, seed: 2 })
  }, 120_000)

  it('noise behind the right magic number, answers and ends', () => {
    const noise = fc.uint8Array({ minLength: HEADER, maxLength: 600 })
    const plan = noise.map((bytes) => {
      const plan = Buffer.from(bytes)
      plan.writeUInt32LE(contract.numbers.get('PLAN_MAGIC') ?? 0, 0)
      plan.writeUInt32LE(plan.readUInt32LE(8) % 3000, 8)
      plan.writeUInt32LE(plan.readUInt32LE(12) % 10, 12)
      for (const column of [16, 20, 24]) plan.writeUInt32LE(plan.readUInt32LE(column) % 20, column)
      return plan
    })
    fc.assert(fc.property(plan, expectSurvival), { numRuns: 150, seed: 3 })
  }, 120_000)

  it('wrong counts in the header, answers and ends', () => {
    const change = fc.tuple(flags, fc.integer({ min: 1, max: HEADER / 4 - 1 }), odd32)
    fc.assert(
      fc.property(change, ([[monitor, trace], field, value]) => {
        const plan = Buffer.from(valid(monitor, trace))
        plan.writeUInt32LE(value, 4 * field)
        expectSurvival(plan)
      }),
      { numRuns: 200, seed: 4 },
    )
  }, 120_000)

  it('absurd numbers and lengths in its steps, answers and ends', () => {
    const change = fc.tuple(flags, fc.nat(), odd64)
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const plan = Buffer.from(valid(changes[0]?.[0][0] === true, changes[0]?.[0][1] === true))
        const words = (plan.length - HEADER) / 8
        for (const [, place, value] of changes) plan.writeBigUInt64LE(value, HEADER + 8 * (place % words))
        expectSurvival(plan)
      }),
      { numRuns: 500, seed: 5 },
    )
  }, 300_000)

  it('single bytes changed anywhere, answers and ends', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(flags, fc.array(change, { minLength: 1, maxLength: 4 }), ([monitor, trace], changes) => {
        const plan = Buffer.from(valid(monitor, trace))
        for (const [place, value] of changes) plan[4 + (place % (plan.length - 4))] = value
        expectSurvival(plan)
      }),
      { numRuns: 500, seed: 6 },
    )
  }, 300_000)
})
