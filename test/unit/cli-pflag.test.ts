import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Command } from '../../src/cli/command.ts'
import { parseDirectly, parseWithCommander } from '../../src/cli/command.ts'
import { type Flag, GLOBAL_FLAGS, TOP_FLAGS } from '../../src/cli/flags/flag.ts'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { PULL_FLAGS } from '../../src/cli/flags/registry.ts'
import { IMAGES_FLAGS, INSPECT_FLAGS, PS_FLAGS, RM_FLAGS, RMI_FLAGS } from '../../src/cli/flags/store.ts'
import { unsupportedFlag } from '../../src/cli/flags/unsupported.ts'
import { canonicalArgv, type Normalised, normaliseArgv } from '../../src/cli/pflag.ts'

const run = (...argv: string[]): Normalised => normaliseArgv(argv, RUN_FLAGS, { interspersed: false })

/** `name=value ... | operand ...`, or the kind of the problem. */
function show(result: Normalised): string {
  if (!result.ok) return result.problem.kind
  return canonicalArgv(result).join(' ')
}

describe('flags as docker and podman users type them', () => {
  it.each([
    ['-it alpine', '--interactive=true --tty=true -- alpine'],
    ['-ti=false alpine', '--tty=true --interactive=false -- alpine'],
    ['-dit alpine', '--detach=true --interactive=true --tty=true -- alpine'],
    ['-m64m alpine', '--memory=64m -- alpine'],
    ['-m=64m alpine', '--memory=64m -- alpine'],
    ['-m 64m alpine', '--memory=64m -- alpine'],
    ['-itm 64m alpine', '--interactive=true --tty=true --memory=64m -- alpine'],
    ['-v=/a:/b alpine', '--volume=/a:/b -- alpine'],
    ['-v/a:/b alpine', '--volume=/a:/b -- alpine'],
    ['--rm=false alpine', '--rm=false -- alpine'],
    ['--rm=F alpine', '--rm=false -- alpine'],
    ['--rm false', '--rm=true -- false'],
    ['--tls-verify alpine sh', '--tls-verify=true -- alpine sh'],
    ['--name=x --name y alpine', '--name=x --name=y -- alpine'],
    ['--name --rm alpine', '--name=--rm -- alpine'],
    ['--memory-swap -1 alpine', '--memory-swap=-1 -- alpine'],
    ['-h web alpine', '--hostname=web -- alpine'],
    ['-e A=1 -e B --env=C=3=4 alpine', '--env=A=1 --env=B --env=C=3=4 -- alpine'],
    ['--env= alpine', '--env= -- alpine'],
    ['-e= alpine', '--env== -- alpine'],
    ['--net host alpine', '--network=host -- alpine'],
    ['alpine -it --rm', '-- alpine -it --rm'],
    ['alpine -- sh', '-- alpine -- sh'],
    ['-- -it alpine', '-- -it alpine'],
    ['-i - x', '--interactive=true -- - x'],
    ['--rootfs /:O sh -c id', '--rootfs=/:O -- sh -c id'],
    ['--rootfs /:O --rm sh --rm', '--rootfs=/:O --rm=true -- sh --rm'],
    ['--rootfs --rm /:O sh', '--rootfs=true --rm=true -- /:O sh'],
    ['--rootfs', '--rootfs=true --'],
    ['--rootfs=/srv:O sh', '--rootfs=/srv:O -- sh'],
    ['--timens boottime=1 alpine', '--timens=boottime=1 -- alpine'],
  ])('%s', (line, expected) => {
    expect(show(run(...line.split(' ')))).toBe(expected)
  })

  it.each([
    ['--bogus', 'unknown'],
    ['--rm=maybe x', 'bad-bool'],
    ['--rm= x', 'bad-bool'],
    ['-it=x y', 'bad-bool'],
    ['-itZ', 'unknown'],
    ['-t= x', 'unknown'],
    ['-= x', 'unknown'],
    ['--name', 'missing-value'],
    ['-e', 'missing-value'],
    ['---x', 'bad-syntax'],
    ['--=x', 'bad-syntax'],
  ])('%s is refused', (line, kind) => {
    expect(show(run(...line.split(' ')))).toBe(kind)
  })

  it('takes flags after operands where a command has no arguments of its own', () => {
    expect(show(normaliseArgv(['a', '-f', 'b', '--', '-f'], RM_FLAGS, { interspersed: true }))).toBe(
      '--force=true -- a b -f',
    )
  })
})

const anyWord = fc.oneof(
  fc.constantFrom(
    '-it',
    '--rm',
    '--rm=false',
    '-e',
    '-v=/a:/b',
    '--name',
    '--',
    '-',
    '',
    'alpine',
    '-h',
    '--env=A=b',
    '-m64m',
  ),
  fc.string({ maxLength: 8 }),
  fc.string({ maxLength: 8 }).map((text) => `-${text}`),
  fc.string({ maxLength: 8 }).map((text) => `--${text}`),
)

/** A flag written in one of the ways a person may choose, and what it must come to. */
const written = fc
  .record({
    flag: fc.constantFrom(...RUN_FLAGS),
    text: fc.string({ maxLength: 6 }),
    truth: fc.boolean(),
    way: fc.nat(3),
  })
  .map(({ flag, text, truth, way }): { words: string[]; name: string; value: string } => {
    const value = flag.kind === 'bool' ? String(truth) : text
    const long = { words: [`--${flag.name}=${value}`], name: flag.name, value }
    // pflag reads a value that begins with = or is empty differently behind a letter.
    const plain = text !== '' && !text.startsWith('=')
    if (flag.kind === 'bool') {
      if (way === 0 && truth) return { ...long, words: [`--${flag.name}`] }
      if (way === 1 && truth && flag.short !== undefined) return { ...long, words: [`-${flag.short}`] }
      if (way === 2 && flag.short !== undefined) return { ...long, words: [`-${flag.short}=${value}`] }
      return long
    }
    if (flag.kind === 'word') return long
    if (way === 0) return { ...long, words: [`--${flag.name}`, value] }
    if (way === 1 && flag.short !== undefined) return { ...long, words: [`-${flag.short}`, value] }
    if (way === 2 && flag.short !== undefined && plain) return { ...long, words: [`-${flag.short}${value}`] }
    if (way === 3 && flag.short !== undefined && plain) return { ...long, words: [`-${flag.short}=${value}`] }
    return long
  })

describe('normaliseArgv, whatever is typed', () => {
  it('never throws, and gives the same answer for its own canonical form', () => {
    fc.assert(
      fc.property(fc.array(anyWord, { maxLength: 8 }), fc.boolean(), (argv, interspersed) => {
        const first = normaliseArgv(argv, RUN_FLAGS, { interspersed })
        if (!first.ok) return
        expect(normaliseArgv(canonicalArgv(first), RUN_FLAGS, { interspersed })).toEqual(first)
      }),
      { numRuns: 2000 },
    )
  })

  it('finds each flag with its value however it is written, and hands the operands on untouched', () => {
    fc.assert(
      fc.property(fc.array(written, { maxLength: 6 }), fc.array(anyWord, { maxLength: 4 }), (flags, rest) => {
        const result = run(...flags.flatMap(({ words }) => words), 'image', ...rest)
        expect(result).toMatchObject({ ok: true, operands: ['image', ...rest] })
        if (!result.ok) return
        const found = result.occurrences.map(({ flag, value }) => [flag.name, value])
        expect(found).toEqual(flags.map(({ name, value }) => [name, value]))
      }),
      { numRuns: 1000 },
    )
  })

  it('never lets a flag before the image swallow a word the image has behind it', () => {
    fc.assert(
      fc.property(fc.array(anyWord, { maxLength: 6 }), fc.array(anyWord, { maxLength: 4 }), (before, after) => {
        const whole = run(...before, ...after)
        if (!whole.ok) return
        // Operands are always a tail of what was typed.
        expect([...before, ...after].slice(-whole.operands.length || Number.POSITIVE_INFINITY)).toEqual([
          ...whole.operands,
        ])
      }),
      { numRuns: 1000 },
    )
  })
})

describe('run reads its flags itself', () => {
  const command: Command = {
    name: 'run',
    usage: 'IMAGE',
    description: '',
    flags: RUN_FLAGS,
    operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'image' },
    passThrough: true,
    run: async () => 0,
  }

  it('and gets what commander would have given it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(written, { maxLength: 6 }),
        fc.array(anyWord, { maxLength: 4 }),
        async (flags, rest) => {
          const normalised = run(...flags.flatMap(({ words }) => words), 'image', ...rest)
          if (!normalised.ok) throw new Error(normalised.problem.kind)
          expect(await parseWithCommander(command, normalised)).toEqual(parseDirectly(command, normalised))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('and refuses a missing image in the same words', async () => {
    const normalised = run('--rm')
    if (!normalised.ok) throw new Error(normalised.problem.kind)
    expect(() => parseDirectly(command, normalised)).toThrow('run: the image is missing')
    await expect(parseWithCommander(command, normalised)).rejects.toThrow('run: the image is missing')
  })
})

describe('the tables of flags', () => {
  const tables: [string, readonly Flag[]][] = [
    ['', TOP_FLAGS],
    ['run', [...RUN_FLAGS, ...GLOBAL_FLAGS]],
    ['pull', [...PULL_FLAGS, ...GLOBAL_FLAGS]],
    ['images', [...IMAGES_FLAGS, ...GLOBAL_FLAGS]],
    ['rmi', [...RMI_FLAGS, ...GLOBAL_FLAGS]],
    ['ps', [...PS_FLAGS, ...GLOBAL_FLAGS]],
    ['rm', [...RM_FLAGS, ...GLOBAL_FLAGS]],
    ['inspect', [...INSPECT_FLAGS, ...GLOBAL_FLAGS]],
  ]

  it.each(tables)('of %j names nothing twice, and nothing as not supported', (command, flags) => {
    const names = flags.flatMap(({ name, aliases = [] }) => [name, ...aliases])
    const letters = flags.flatMap(({ short }) => short ?? [])
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(letters).size).toBe(letters.length)
    for (const name of [...names, ...letters]) expect(unsupportedFlag(command, name)).toBeUndefined()
  })

  it.each(tables)('of %j gives a value name to what takes one', (_, flags) => {
    for (const { kind, value, implied } of flags) {
      const takesValue = kind === 'string' || kind === 'list'
      expect({ kind, value: value ?? '', implied: implied ?? '' }).toEqual({
        kind,
        value: takesValue ? expect.stringMatching(/\S/) : kind === 'bool' ? '' : (value ?? ''),
        implied: kind === 'word' ? expect.stringMatching(/\S/) : '',
      })
    }
  })
})
