import { TscrunError } from '../../model/errors.ts'
import { badFlag } from '../errors.ts'

/** What a value may refer to beside itself. */
export interface Caller {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Empty where it has been deleted. */
  readonly cwd: string
  /** Bytes of a file named by the user; throws errors of node:fs. */
  readonly readFile: (path: string) => Uint8Array
}

/** `--env-file` first, then `--env`, each in the order typed: later ones win. Throws USAGE. */
export function parseEnvironment(
  files: readonly string[],
  values: readonly string[],
  env: Caller['env'],
  read: Caller['readFile'],
): string[] {
  return [
    ...files.flatMap((path) => parseEnvFile(path, read(path), env)),
    ...values.flatMap((text) => parseEnv(text, env)),
  ]
}

/**
 * `NAME=value`; `NAME` takes the caller's variable, or nothing where there is none; `PREFIX*` takes all of the
 * caller's that begin so (podman). Only ever for what the user typed, never for an image's Env (CVE-2026-57231).
 */
export function parseEnv(text: string, env: Caller['env']): string[] {
  if (text.includes('=') && !text.startsWith('=')) return [text]
  if (text === '' || text.startsWith('=')) throw badFlag('env', text, 'the name is missing', 'NAME=value or NAME')
  const names = text.endsWith('*') ? Object.keys(env).filter((name) => name.startsWith(text.slice(0, -1))) : [text]
  return names.flatMap((name) => (env[name] === undefined ? [] : [`${name}=${env[name]}`]))
}

/**
 * docker's format: one variable a line, `#` begins a comment line, blanks before the name are dropped, the value
 * is taken as it is (no quotes, no expansion), a name alone takes the caller's variable. Throws USAGE with the line.
 */
export function parseEnvFile(path: string, bytes: Uint8Array, env: Caller['env']): string[] {
  const variables: string[] = []
  for (const [number, line] of keyValueLines('env-file', path, bytes)) {
    const equals = line.indexOf('=')
    const name = equals < 0 ? line : line.slice(0, equals)
    const where = `--env-file ${path}: line ${number}`
    if (name === '') throw new TscrunError('USAGE', `${where}: the name is missing`, { subject: path })
    if (/\s/u.test(name)) {
      throw new TscrunError('USAGE', `${where}: blanks in the name ${JSON.stringify(name)}`, {
        subject: path,
        hint: 'NAME=value without export and quotes',
      })
    }
    if (equals >= 0) variables.push(line)
    else if (env[name] !== undefined) variables.push(`${name}=${env[name]}`)
  }
  return variables
}

/** Lines that are not empty and no comment, with their numbers. */
function* keyValueLines(flag: string, path: string, bytes: Uint8Array): Generator<[number, string]> {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new TscrunError('USAGE', `--${flag} ${path}: not UTF-8 text`, { subject: path })
  }
  let number = 0
  for (const raw of text.split('\n')) {
    number += 1
    if (raw.includes('\0'))
      throw new TscrunError('USAGE', `--${flag} ${path}: line ${number}: has a zero byte`, { subject: path })
    const line = raw.replace(/\r$/, '').trimStart()
    if (line !== '' && !line.startsWith('#')) yield [number, line]
  }
}

/** `key=value` or `key`, whose value is then empty; files first. Throws USAGE. */
export function parseLabels(
  files: readonly string[],
  values: readonly string[],
  read: Caller['readFile'],
): Record<string, string> {
  const lines = files.flatMap((path) => [...keyValueLines('label-file', path, read(path))].map(([, line]) => line))
  return keyValues('label', [...lines, ...values])
}

/** `key=value` pairs; for flags where a value can be left out. A plain record whose keys may be anything. */
export function keyValues(flag: string, values: readonly string[]): Record<string, string> {
  const pairs = values.map((text): [string, string] => {
    const equals = text.indexOf('=')
    const key = equals < 0 ? text : text.slice(0, equals)
    if (key === '') throw badFlag(flag, text, 'the key is missing', 'key=value')
    return [key, equals < 0 ? '' : text.slice(equals + 1)]
  })
  // fromEntries defines own properties, so that a key `__proto__` is a key like any other.
  return Object.fromEntries(pairs)
}
