import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { flagValues, parseDirectly } from '../../src/cli/command.ts'
import { runCommand } from '../../src/cli/commands/run.ts'
import type { Flag } from '../../src/cli/flags/flag.ts'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { unsupportedFlag } from '../../src/cli/flags/unsupported.ts'
import { parseRun } from '../../src/cli/parse/run.ts'
import { normaliseArgv } from '../../src/cli/pflag.ts'
import { TscrunError } from '../../src/model/errors.ts'

/** An image nobody has: podman reads the whole command line, looks the image up in its empty store, and ends. */
const IMAGE = 'nosuch.invalid/image'

type Verdict = 'taken' | 'unknown' | 'missing-value' | 'bad-bool' | 'bad-syntax' | 'bad-value' | 'other-image'

let home = ''

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tscrun-cli-flags-'))
})

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
})

function podman(argv: readonly string[]): Verdict {
  const globals = ['--root', join(home, 'root'), '--runroot', join(home, 'run'), '--storage-driver', 'vfs']
  const { stderr } = spawnSync('podman', [...globals, 'run', '--pull', 'never', ...argv], {
    encoding: 'utf8',
    cwd: home,
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  if (stderr.includes(`${IMAGE}: image not known`)) return 'taken'
  if (/unknown (?:shorthand )?flag/.test(stderr)) return 'unknown'
  if (stderr.includes('flag needs an argument')) return 'missing-value'
  if (stderr.includes('ParseBool')) return 'bad-bool'
  if (stderr.includes('bad flag syntax')) return 'bad-syntax'
  if (/image not known|invalid reference format|requires at least 1 arg/.test(stderr)) return 'other-image'
  return 'bad-value'
}

function ours(argv: readonly string[]): Verdict {
  const normalised = normaliseArgv(argv, RUN_FLAGS, { interspersed: false })
  if (!normalised.ok) return normalised.problem.kind
  try {
    const { values, operands } = parseDirectly(runCommand, normalised)
    const caller = { env: {}, cwd: home, readFile: () => new Uint8Array() }
    return parseRun(flagValues(values), operands, caller).image === IMAGE ? 'taken' : 'other-image'
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return operandsOf(argv) === 0 ? 'other-image' : 'bad-value'
  }
}

function operandsOf(argv: readonly string[]): number {
  const normalised = normaliseArgv(argv, RUN_FLAGS, { interspersed: false })
  return normalised.ok ? normalised.operands.length : 0
}

/** Whether podman 4.3 has the flag too; of a kind that takes a value, or not. */
const PODMAN_FLAGS = new Map(
  spawnSync('podman', ['run', '--help'], { encoding: 'utf8' })
    .stdout.split('\n')
    .flatMap((line) => {
      const match = /^ {2}(?:-(\w),| {3}) --([a-z0-9-]+)( \S+)? {2,}/.exec(line)
      return match === null ? [] : [[match[2] ?? '', { short: match[1], takesValue: match[3] !== undefined }] as const]
    }),
)

/** Not podman's, or (rootfs) taken in one form more. */
const OUR_OWN = ['dry-run', 'timens', 'rootfs', 'detach', 'pull']
const SHARED: readonly Flag[] = RUN_FLAGS.filter(({ name }) => PODMAN_FLAGS.has(name) && !OUR_OWN.includes(name))

describe('the flags of run beside those of podman', () => {
  it('have the letters and kinds that podman gives them', () => {
    expect(SHARED.length).toBeGreaterThan(55)
    for (const { name, short, kind } of SHARED) {
      expect({ name, ...PODMAN_FLAGS.get(name) }).toEqual({ name, short, takesValue: kind !== 'bool' })
    }
  })

  it('know every flag of podman, supported or not', () => {
    const unknown = [...PODMAN_FLAGS.keys()].filter(
      (name) =>
        !RUN_FLAGS.some((flag) => flag.name === name || flag.aliases?.includes(name) === true) &&
        unsupportedFlag('run', name) === undefined,
    )
    expect(unknown).toEqual([])
  })

  it.each([
    `-it ${IMAGE}`,
    `-ti=false ${IMAGE}`,
    `--rm=false ${IMAGE}`,
    `--rm false ${IMAGE}`,
    `--rm=maybe ${IMAGE}`,
    `-it=x ${IMAGE}`,
    `-t= ${IMAGE}`,
    `-h web ${IMAGE}`,
    `-e A ${IMAGE}`,
    `-eA=1 ${IMAGE}`,
    `-e=A=1 ${IMAGE}`,
    '-e',
    '--name',
    `--name x ${IMAGE}`,
    `--name=x ${IMAGE} --rm --bogus`,
    `--tls-verify ${IMAGE}`,
    `--tls-verify=0 ${IMAGE}`,
    `--tls-verify false ${IMAGE}`,
    `-- ${IMAGE}`,
    `-i -- ${IMAGE}`,
    `-- -i ${IMAGE}`,
    `--- ${IMAGE}`,
    `--=x ${IMAGE}`,
    `-= ${IMAGE}`,
    `- ${IMAGE}`,
    `-Z ${IMAGE}`,
    `-itZ ${IMAGE}`,
    `-v=/a:/b ${IMAGE}`,
    `-v/a:/b ${IMAGE}`,
    `-m64m ${IMAGE}`,
    `-m=64m ${IMAGE}`,
    `--memory-swap -1 ${IMAGE}`,
    `--net host ${IMAGE}`,
    `--network none ${IMAGE}`,
  ])('%s', (line) => {
    const argv = line.split(' ')
    expect(ours(argv)).toBe(podman(argv))
  })

  it('read any mixture of them as podman does', () => {
    const letters = SHARED.flatMap(({ short, kind }) => (short !== undefined && kind === 'bool' ? [short] : []))
    // Values that every flag's own rules would refuse are beside the point here: only these are used.
    const harmless = fc.constantFrom(
      ['--name', 'x'],
      ['--name=y'],
      ['-eA=1'],
      ['-e', 'B'],
      ['-e=C=3'],
      ['-w', '/srv'],
      ['-u=0'],
      ['-l', '--rm'],
      ['--label=-it'],
      ['-hweb'],
      ['--hostname', 'web'],
    )
    const cluster = fc
      .array(fc.constantFrom(...letters, 'Z'), { minLength: 1, maxLength: 4 })
      .chain((word) => fc.constantFrom('', '=true', '=0', '=x', '=').map((tail) => [`-${word.join('')}${tail}`]))
    const long = fc
      .constantFrom('rm', 'init', 'privileged', 'read-only', 'tls-verify', 'quiet', 'nosuch')
      .chain((name) => fc.constantFrom('', '=false', '=T', '=no', '=').map((tail) => [`--${name}${tail}`]))
    const odd = fc.constantFrom(['--'], ['---'], ['-='], ['--=a'])
    const words = fc.array(fc.oneof(harmless, cluster, long, { arbitrary: odd, weight: 1 }), { maxLength: 5 })
    fc.assert(
      fc.property(words, (parts) => {
        const argv = [...parts.flat(), IMAGE, '--rm', '-Z']
        expect(ours(argv)).toBe(podman(argv))
      }),
      { numRuns: 120, seed: 20_240_229 },
    )
  })
})
