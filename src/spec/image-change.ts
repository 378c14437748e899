import { TscrunError } from '../model/errors.ts'

/** The `config` object of an image config, whatever is in it (image-spec config.md). */
export type ImageConfigObject = Readonly<Record<string, unknown>>

/**
 * Applies one instruction of a Dockerfile, as `commit --change` and `import --change` take them: `CMD ["sh"]`, `ENV A=1`,
 * or `CMD=sh`. Throws USAGE.
 */
export function changeImageConfig(config: ImageConfigObject, text: string): ImageConfigObject {
  const match = /^\s*([A-Za-z]+)(?:\s+|\s*=\s*)([\s\S]*?)\s*$/.exec(text)
  const [, word = '', rest = ''] = match ?? []
  const instruction = INSTRUCTIONS[word.toUpperCase()]
  if (instruction === undefined) {
    throw badChange(text, `${word === '' ? 'no' : 'an unknown'} instruction`, Object.keys(INSTRUCTIONS).join(', '))
  }
  if (rest === '') throw badChange(text, 'nothing follows the instruction')
  return instruction(config, rest, text)
}

type Instruction = (config: ImageConfigObject, rest: string, text: string) => ImageConfigObject

const INSTRUCTIONS: Readonly<Record<string, Instruction>> = {
  CMD: (config, rest) => ({ ...config, Cmd: commandOf(rest) }),
  // As in a Dockerfile: what the image below would run is no argument of another program.
  ENTRYPOINT: (config, rest) => ({ ...without(config, 'Cmd'), Entrypoint: commandOf(rest) }),
  ENV: (config, rest, text) => {
    const before = Array.isArray(config['Env']) ? (config['Env'] as readonly string[]) : []
    const named = new Map(before.map((entry) => [entry.slice(0, entry.indexOf('=')), entry]))
    for (const [name, value] of pairsOf(rest, text)) named.set(name, `${name}=${value}`)
    return { ...config, Env: [...named.values()] }
  },
  LABEL: (config, rest, text) => ({
    ...config,
    Labels: { ...objectOf(config['Labels']), ...Object.fromEntries(pairsOf(rest, text)) },
  }),
  EXPOSE: (config, rest, text) => {
    const ports = wordsOf(rest).map((port) => {
      if (!/^\d{1,5}(?:-\d{1,5})?(?:\/(?:tcp|udp|sctp))?$/.test(port)) throw badChange(text, `${port} is no port`)
      return port.includes('/') ? port : `${port}/tcp`
    })
    return { ...config, ExposedPorts: { ...objectOf(config['ExposedPorts']), ...setOf(ports) } }
  },
  VOLUME: (config, rest) => {
    const paths = jsonList(rest) ?? wordsOf(rest)
    return { ...config, Volumes: { ...objectOf(config['Volumes']), ...setOf(paths) } }
  },
  USER: (config, rest) => ({ ...config, User: rest }),
  WORKDIR: (config, rest) => {
    const before = typeof config['WorkingDir'] === 'string' ? config['WorkingDir'] : ''
    const joined = rest.startsWith('/') ? rest : `${before === '' ? '' : before.replace(/\/$/, '')}/${rest}`
    return { ...config, WorkingDir: joined }
  },
  STOPSIGNAL: (config, rest) => ({ ...config, StopSignal: rest }),
  ONBUILD: (config, rest) => ({
    ...config,
    OnBuild: [...(Array.isArray(config['OnBuild']) ? (config['OnBuild'] as readonly unknown[]) : []), rest],
  }),
  HEALTHCHECK: (config, rest, text) => ({ ...config, Healthcheck: healthcheckOf(rest, text) }),
}

function without(config: ImageConfigObject, key: string): ImageConfigObject {
  const { [key]: _, ...rest } = config
  return rest
}

function objectOf(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}

function setOf(keys: readonly string[]): object {
  return Object.fromEntries(keys.map((key) => [key, {}]))
}

/** A JSON list is the command itself, anything else a line for the shell. */
function commandOf(text: string): readonly string[] {
  return jsonList(text) ?? ['/bin/sh', '-c', text]
}

function jsonList(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return undefined
}

/** Words parted by blanks; quotes and backslashes keep blanks in a word. */
function wordsOf(text: string): readonly string[] {
  const found = text.match(/(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s\\])+/g) ?? []
  return found.map((word) =>
    word.replaceAll(/\\(.)|"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_, escaped, double, single) =>
      String(escaped ?? (double as string | undefined)?.replaceAll(/\\(["\\$])/g, '$1') ?? single),
    ),
  )
}

/** `A=1 B="two words"`, or the old `A one value`. */
function pairsOf(text: string, whole: string): readonly (readonly [name: string, value: string])[] {
  const words = wordsOf(text)
  const [first = ''] = words
  if (!first.includes('=') && words.length > 1) return [[first, text.slice(first.length).trim()]]
  return words.map((word) => {
    const equals = word.indexOf('=')
    if (equals < 1) throw badChange(whole, `${JSON.stringify(word)} is not NAME=value`)
    return [word.slice(0, equals), word.slice(equals + 1)]
  })
}

const DURATIONS: Readonly<Record<string, string>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
}
const UNITS: Readonly<Record<string, number>> = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }

function healthcheckOf(text: string, whole: string): object {
  const found: Record<string, unknown> = {}
  let rest = text
  for (;;) {
    const option = /^--([a-z-]+)=(\S+)\s*/.exec(rest)
    if (option === null) break
    const [all, name = '', value = ''] = option
    rest = rest.slice(all.length)
    const key = DURATIONS[name]
    if (name === 'retries' && /^\d+$/.test(value)) found['Retries'] = Number(value)
    else if (key !== undefined) found[key] = nanoseconds(value, whole)
    else throw badChange(whole, `--${name}=${value} is no option of HEALTHCHECK`)
  }
  if (rest.toUpperCase() === 'NONE') return { Test: ['NONE'] }
  const command = /^CMD\s+([\s\S]+)$/i.exec(rest)?.[1]
  if (command === undefined) throw badChange(whole, 'HEALTHCHECK needs CMD or NONE')
  const list = jsonList(command)
  return { Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list], ...found }
}

function nanoseconds(text: string, whole: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)]
  if (parts.map(([part]) => part).join('') !== text || parts.length === 0)
    throw badChange(whole, `${text} is no duration`)
  return Math.round(parts.reduce((sum, [, count = '', unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0))
}

function badChange(text: string, reason: string, hint?: string): TscrunError {
  return new TscrunError('USAGE', `--change ${text}: ${reason}`, {
    subject: '--change',
    ...(hint === undefined ? {} : { hint }),
  })
}
