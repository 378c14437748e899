import { readFileSync } from 'node:fs'
import type { OciResources } from '../../../model/config.ts'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import { parseBytes } from '../../../model/units.ts'
import { updateContainer } from '../../../runtime/update.ts'
import { readResources } from '../../../spec/read-config.ts'
import type { FlagValues } from '../../command.ts'
import { badFlag } from '../../errors.ts'
import type { Flag } from '../../flags/flag.ts'
import type { RuntimeCommand } from '../command.ts'

const limit = (name: string, value: string, help: string, aliases: readonly string[] = []): Flag => ({
  name,
  kind: 'string',
  value,
  help,
  aliases,
})

const LIMITS: readonly Flag[] = [
  limit('memory', 'bytes', 'Memory limit; -1 is none'),
  limit('memory-reservation', 'bytes', 'Memory that is protected (memory.low)'),
  limit('memory-swap', 'bytes', 'Memory and swap together; -1 is unlimited swap'),
  limit('cpu-period', 'us', 'Period of the quota'),
  limit('cpu-quota', 'us', 'Processor time in each period; -1 is no limit'),
  limit('cpu-burst', 'us', 'Unused time that may be saved up'),
  limit('cpu-share', 'n', 'Weight from 2 to 262144', ['cpu-shares']),
  limit('cpu-idle', 'n', '1: only what nobody else wants'),
  limit('cpuset-cpus', 'list', 'Processors, such as 0-3,7'),
  limit('cpuset-mems', 'list', 'Memory nodes'),
  limit('pids-limit', 'n', 'Processes; -1 is no limit'),
  limit('blkio-weight', 'n', 'Weight from 10 to 1000'),
]

/** What cgroup v2 has not: taken and passed over where the value is the default of callers, refused otherwise. */
const GONE = [
  'kernel-memory',
  'kernel-memory-tcp',
  'cpu-rt-period',
  'cpu-rt-runtime',
  'l3-cache-schema',
  'mem-bw-schema',
]

export const update: RuntimeCommand = {
  name: 'update',
  usage: 'ID',
  description: 'Change the limits of a container',
  flags: [
    {
      name: 'resources',
      short: 'r',
      kind: 'string',
      value: 'file',
      help: 'JSON of linux.resources; - is standard input',
    },
    ...LIMITS,
    ...GONE.map((name) => limit(name, 'value', 'Not in cgroup v2, or not supported')),
  ],
  operands: { min: 1, max: 1 },
  async run({ flags, operands, globals }) {
    for (const name of GONE) {
      const value = flags.text(name) ?? ''
      if (value !== '' && value !== '0') throw badFlag(name, value, 'cgroup v2 has no such limit')
    }
    const file = flags.text('resources')
    const resources = file === undefined ? fromFlags(flags) : readResources(readDocument(file))
    await updateContainer(globals.root, operands[0] ?? '', resources)
    return 0
  },
}

function readDocument(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    const reason = errno === 'ENOENT' ? 'no such file or directory' : errno
    throw new TscrunError('USAGE', `--resources ${file}: ${reason}`, { errno, subject: file, cause: error })
  }
}

/** In the form that config.json has them. */
function fromFlags(flags: FlagValues): OciResources {
  const size = (name: string): number | undefined =>
    optional(flags, name, (text) => (text === '-1' ? -1 : parseBytes(text)))
  const count = (name: string): number | undefined =>
    optional(flags, name, (text) => (/^-?[0-9]{1,15}$/.test(text) ? Number(text) : undefined))
  const memory = present({
    limit: size('memory'),
    reservation: size('memory-reservation'),
    swap: size('memory-swap'),
  })
  const cpu = present({
    period: count('cpu-period'),
    quota: count('cpu-quota'),
    burst: count('cpu-burst'),
    shares: count('cpu-share'),
    idle: count('cpu-idle'),
    cpus: flags.text('cpuset-cpus'),
    mems: flags.text('cpuset-mems'),
  })
  const pids = count('pids-limit')
  const weight = count('blkio-weight')
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...(weight === undefined ? {} : { blockIO: { weight } }),
  }
}

function optional(flags: FlagValues, name: string, parse: (text: string) => number | undefined): number | undefined {
  const text = flags.text(name)
  if (text === undefined || text === '') return undefined
  const value = parse(text)
  if (value === undefined) throw badFlag(name, text, 'not a number')
  return value
}

type Present<T> = { readonly [K in keyof T]?: NonNullable<T[K]> }

/** Without what is undefined; undefined itself where nothing is left. */
function present<T extends object>(values: T): Present<T> | undefined {
  const found = Object.entries(values).filter(([, value]) => value !== undefined)
  return found.length === 0 ? undefined : (Object.fromEntries(found) as Present<T>)
}
