import { realpathSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Engine, UnitSource } from '../../engine/api.ts'
import { quadletFile } from '../../engine/units/quadlet.ts'
import { bootUnit, containerUnit, type UnitContext, unitName, type UnitRestart } from '../../engine/units/unit.ts'
import { TscrunError } from '../../model/errors.ts'
import { signalNumber } from '../../model/kernel-names.ts'
import { packageRoot } from '../../syscall/package-root.ts'
import type { Command, FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { GLOBAL_FLAGS, TOP_FLAGS } from '../flags/flag.ts'
import { GENERATE_FLAGS } from '../flags/live.ts'
import { RUN_FLAGS } from '../flags/run.ts'
import { print } from '../output/print.ts'
import { parseInteger } from '../parse/numbers.ts'
import { normaliseArgv, type Occurrence } from '../pflag.ts'

export const generateCommand: Command = {
  name: 'generate',
  usage: 'systemd CONTAINER | systemd --all | quadlet CONTAINER',
  description:
    "Print a unit of systemd that runs a container, one that starts them all at boot, or a file for podman's quadlet",
  flags: GENERATE_FLAGS,
  operands: { min: 1, max: 2, noun: 'kind of unit' },
  async run({ flags, operands, engine }) {
    const [kind = '', name] = operands
    if (kind !== 'systemd' && kind !== 'quadlet') {
      throw new TscrunError('USAGE', `generate ${kind}: unknown kind`, { subject: kind, hint: 'systemd or quadlet' })
    }
    const opened = await engine()
    if (kind === 'quadlet') {
      print(await quadletOf(opened, name, flags))
      return 0
    }
    const { store } = (await opened.info()) as { store: { root: string; runRoot: string } }
    const context = contextOf(store)
    if (flags.bool('all') === (name !== undefined)) {
      throw new TscrunError('USAGE', 'generate systemd: needs a container, or --all', { subject: 'generate' })
    }
    if (name === undefined) {
      print(`# tscrun-containers.service\n${bootUnit(context)}`)
      return 0
    }
    const source = await opened.unitSource(name)
    const container = flags.bool('name', true) ? source.name : source.id
    const unit = {
      container,
      restart: restartOf(flags, source),
      stopSeconds: parseInteger('time', flags.text('time') ?? '10', { min: 0, max: 86_400 }),
      stopSignal: signalNumber(source.stopSignal) ?? (Number(source.stopSignal) || 15),
      requires: source.joins.map(unitName),
      ...(flags.bool('new') ? { run: runWords(source), directory: source.madeBy?.cwd ?? '/' } : {}),
    }
    print(`# ${unitName(container)}\n${containerUnit(context, unit)}`)
    return 0
  },
}

/** What of `generate systemd` a quadlet has no place for. */
const SYSTEMD_ONLY = ['all', 'new', 'time', 'name'] as const

async function quadletOf(engine: Engine, name: string | undefined, flags: FlagValues): Promise<string> {
  const other = SYSTEMD_ONLY.find((flag) => flags.has(flag))
  if (other !== undefined || name === undefined) {
    const problem = other === undefined ? 'needs a container' : `--${other} is for systemd`
    throw new TscrunError('USAGE', `generate quadlet: ${problem}`, { subject: 'generate' })
  }
  const source = await engine.unitSource(name)
  const { occurrences, operands } = commandOf(source, 'quadlet')
  const globals = new Set(GLOBAL_FLAGS.map((flag) => flag.name))
  const wanted = occurrences.filter(({ flag, value }) => !globals.has(flag.name) && value !== '')
  // `--rootfs --rm PATH`: what the first operand is.
  const isSwitch = wanted.some(({ flag, value }) => flag.name === 'rootfs' && value === 'true')
  const fromImage = source.imageId !== undefined
  const unit = quadletFile({
    name: source.name,
    image: fromImage ? await fullName(engine, source) : undefined,
    flags: wanted
      .filter(({ flag, value }) => flag.name !== 'rootfs' || value !== 'false')
      .map((occurrence) => ({
        name: occurrence.flag.name,
        value: isSwitch && occurrence.flag.name === 'rootfs' ? (operands[0] ?? '') : valueOf(occurrence, source.env),
      })),
    words: fromImage || isSwitch ? operands.slice(1) : operands,
    directory: source.madeBy?.cwd ?? '/',
    ownUser: source.ownUser,
    network: source.network,
    restart: flags.has('restart-policy') || source.restart !== 'no' ? restartOf(flags, source) : 'no',
    requires: source.joins,
  })
  return `# ${source.name}.container, for /etc/containers/systemd: podman runs it, with images, volumes and networks of its own\n${unit}`
}

/** With its registry: quadlet asks nobody which one is meant. */
async function fullName(engine: Engine, { image, imageId }: UnitSource): Promise<string> {
  if (imageId === undefined) return image
  const { RepoTags } = (await engine.inspect(imageId, 'image')) as { RepoTags?: readonly string[] }
  return RepoTags?.find((tag) => tag.endsWith(`/${image}`) || tag.endsWith(`/${image}:latest`)) ?? image
}

const RESTARTS: readonly UnitRestart[] = [
  'no',
  'always',
  'on-success',
  'on-failure',
  'on-abnormal',
  'on-abort',
  'on-watchdog',
]

function restartOf(flags: FlagValues, { restart }: UnitSource): UnitRestart {
  const text = flags.text('restart-policy')
  const asked = RESTARTS.find((name) => name === text)
  if (asked !== undefined) return asked
  if (text !== undefined) throw badFlag('restart-policy', text, 'not one of systemd', RESTARTS.join(', '))
  return restart === 'always' || restart === 'unless-stopped' ? 'always' : 'on-failure'
}

/** What the unit itself says: the name it has, how it is started, where its store is. */
const ITS_OWN = new Set(['name', 'detach', 'rm', 'cidfile', 'restart', 'dry-run', 'quiet', 'monitor-pidfile'])

/** The command line that made it, in a form that no shell and no habit can read otherwise. */
function runWords(source: UnitSource): string[] {
  const made = commandOf(source, 'systemd --new')
  const globals = new Set(GLOBAL_FLAGS.map((flag) => flag.name))
  const flags = made.occurrences.filter(({ flag }) => !ITS_OWN.has(flag.name) && !globals.has(flag.name))
  const words = flags.map((occurrence) => `--${occurrence.flag.name}=${valueOf(occurrence, source.env)}`)
  return [`--name=${source.name}`, ...words, '--', ...made.operands]
}

function commandOf({ name, madeBy }: UnitSource, kind: string): Made {
  const made = madeBy === undefined ? undefined : occurrencesOf(madeBy.words)
  if (made !== undefined) return made
  throw new TscrunError('USAGE', `generate ${kind}: nobody knows the command that made ${name}`, {
    subject: name,
    hint: '`generate systemd` without --new makes a unit that starts this container',
  })
}

interface Made {
  readonly occurrences: readonly Occurrence[]
  readonly operands: readonly string[]
}

function occurrencesOf(words: readonly string[]): Made | undefined {
  const top = normaliseArgv(words, TOP_FLAGS, { interspersed: false })
  if (!top.ok) return undefined
  const verbs = top.operands[0] === 'container' ? 2 : 1
  const flags = [...RUN_FLAGS, ...GLOBAL_FLAGS]
  const made = normaliseArgv(top.operands.slice(verbs), flags, { interspersed: false })
  return made.ok ? made : undefined
}

/** A variable whose value came from the caller has the value that it got. */
function valueOf({ flag, value }: Occurrence, env: readonly string[]): string {
  const inherited = flag.name === 'env' && !value.includes('=')
  const now = inherited ? env.find((entry) => entry.startsWith(`${value}=`)) : undefined
  return now ?? value
}

function contextOf({ root, runRoot }: { readonly root: string; readonly runRoot: string }): UnitContext {
  const store = [
    ...(root === '/var/lib/tscrun' ? [] : ['--root', root]),
    ...(runRoot === '/run/tscrun' ? [] : ['--runroot', runRoot]),
  ]
  // Its launcher looks in the usual places; another Node must be named.
  const usual = ['/usr/bin/', '/usr/local/bin/'].some((directory) => process.execPath.startsWith(directory))
  return {
    program: [programPath(), ...store],
    environment: usual ? {} : { TSCRUN_NODE: process.execPath },
    directories: [root],
  }
}

/** The name in PATH that leads here, which a later version keeps, or this very file. */
function programPath(): string {
  const own = join(packageRoot(), 'bin', 'tscrun')
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, 'tscrun'))
    .find((path) => statSync(path, { throwIfNoEntry: false }) !== undefined && realpathSync(path) === realpathSync(own))
  return found ?? own
}
