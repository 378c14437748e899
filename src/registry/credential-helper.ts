import { TscrunError } from '../model/errors.ts'
import type { Environment } from './environment.ts'

/** A login as a helper keeps it; the user name `<token>` says that the secret is an identity token. */
export interface HelperLogin {
  readonly user: string
  readonly secret: string
}

type Action = 'get' | 'store' | 'erase' | 'list'

/** Some ask for a passphrase in a window. */
const TIMEOUT_MS = 60_000
const MAX_OUTPUT = 64 << 10
/** What the helpers of docker-credential-helpers say where they have nothing. */
const NOT_FOUND = /credentials not found in native keychain/

/** Asks the helper for the login at a server; undefined where it has none. Throws REGISTRY_AUTH. */
export async function askHelper(name: string, server: string, env: Environment): Promise<HelperLogin | undefined> {
  const answer = await callHelper(name, 'get', server, env)
  if (answer === undefined) return undefined
  const { Username: user, Secret: secret } = parseAnswer(answer, name, 'get')
  if (typeof user !== 'string' || typeof secret !== 'string') throw failed(name, 'get', 'no login in its answer')
  return secret === '' ? undefined : { user, secret }
}

/** Has the helper keep a login. The secret goes through a pipe, never through arguments. Throws REGISTRY_AUTH. */
export async function storeByHelper(name: string, server: string, login: HelperLogin, env: Environment): Promise<void> {
  const input = JSON.stringify({ ServerURL: server, Username: login.user, Secret: login.secret })
  await callHelper(name, 'store', input, env)
}

/** Answers false where the helper had none. Throws REGISTRY_AUTH. */
export async function eraseByHelper(name: string, server: string, env: Environment): Promise<boolean> {
  return (await callHelper(name, 'erase', server, env)) !== undefined
}

/** The servers a helper has logins for. Throws REGISTRY_AUTH. */
export async function listHelper(name: string, env: Environment): Promise<readonly string[]> {
  const answer = await callHelper(name, 'list', '', env)
  return answer === undefined ? [] : Object.keys(parseAnswer(answer, name, 'list'))
}

async function callHelper(name: string, action: Action, input: string, env: Environment): Promise<string | undefined> {
  // It becomes the name of a program: no path, no flag.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
    throw new TscrunError('REGISTRY_AUTH', `credential helper ${JSON.stringify(name.slice(0, 100))}: not a name`, {
      hint: 'credHelpers and credsStore have what follows docker-credential-, e.g. pass',
    })
  }
  const { execa } = await import('execa')
  const result = await execa(`docker-credential-${name}`, [action], {
    input,
    env: { ...env },
    extendEnv: false,
    reject: false,
    timeout: TIMEOUT_MS,
    forceKillAfterDelay: 1000,
    maxBuffer: MAX_OUTPUT,
    stripFinalNewline: false,
    stderr: 'ignore',
    encoding: 'utf8',
  })
  if (result.code === 'ENOENT') throw failed(name, action, 'not on the PATH')
  if (result.isMaxBuffer) throw failed(name, action, `more than the ${MAX_OUTPUT} bytes that are taken`)
  if (result.timedOut) throw failed(name, action, `no answer for ${TIMEOUT_MS / 1000} s`)
  if (!result.failed) return result.stdout
  if (NOT_FOUND.test(result.stdout)) return undefined
  const end = result.signal === undefined ? `exit code ${result.exitCode ?? result.code}` : `ended by ${result.signal}`
  throw failed(name, action, `${end}${saidBy(result.stdout)}`)
}

/** A helper's complaint in one short line. Text with braces may be a login and is not repeated. */
function saidBy(output: string): string {
  const line = output.replace(/[^\x20-\x7e]+/g, ' ').trim()
  return line === '' || /[{}]/.test(line) ? '' : `: ${line.slice(0, 200)}`
}

function failed(name: string, action: Action, reason: string): TscrunError {
  return new TscrunError('REGISTRY_AUTH', `credential helper docker-credential-${name} ${action}: ${reason}`, {
    subject: `docker-credential-${name}`,
    hint: 'mend it, or remove it from credHelpers and credsStore of the login file',
  })
}

function parseAnswer(text: string, name: string, action: Action): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw failed(name, action, 'its answer is no JSON object')
}
