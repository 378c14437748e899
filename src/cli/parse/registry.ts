import { accessSync, constants } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { RegistryAccess } from '../../registry/session.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { askSecret } from '../secret.ts'

/** How registries are reached, by the flags; `side` is `src-` or `dest-` where a command has two. Throws USAGE. */
export async function parseAccess(flags: FlagValues, side: '' | 'src-' | 'dest-' = ''): Promise<RegistryAccess> {
  const authFile = parseAuthFile(flags.text('authfile'))
  const certDir = flags.text(`${side}cert-dir`)
  const creds = flags.text(`${side}creds`)
  return {
    ...(flags.has(`${side}tls-verify`) ? { tlsVerify: flags.bool(`${side}tls-verify`) } : {}),
    ...(certDir === undefined || certDir === '' ? {} : { certDir }),
    ...(authFile === undefined ? {} : { authFile }),
    ...(creds === undefined ? {} : { creds: await parseCreds(`${side}creds`, creds) }),
  }
}

/** The message must not repeat the value: it may hold a password. */
async function parseCreds(flag: string, text: string): Promise<{ readonly user: string; readonly password: string }> {
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  if (user === '')
    throw new TscrunError('USAGE', `--${flag}: no user name in front of the colon`, { subject: `--${flag}` })
  return {
    user,
    password:
      colon < 0 ? await askSecret(`Password of ${user}: `, 'log in with `tscrun login` first') : text.slice(colon + 1),
  }
}

/** A file that is named must be there to be read: a login that silently is none helps nobody. Throws USAGE. */
function parseAuthFile(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined
  try {
    accessSync(text, constants.R_OK)
  } catch (error) {
    throw badFlag('authfile', text, errnoOf(error) ?? 'not readable')
  }
  return text
}

/** `--format` of pull, push and copy: true for `json`. Throws USAGE. */
export function parseProgressFormat(text: string | undefined): boolean {
  if (text === undefined || text === '') return false
  if (text === 'json') return true
  throw badFlag('format', text, 'unknown', 'json is the only one')
}

/** A registry as people write it: `https://index.docker.io/v1/` is `docker.io`. Throws USAGE. */
export function parseRegistryName(text: string): string {
  const bare = text.replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '')
  const name = bare === 'index.docker.io' || bare === 'registry-1.docker.io' ? 'docker.io' : bare
  if (/^(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?(?:\/[a-z0-9][a-z0-9._/-]*)?$/.test(name))
    return name
  throw new TscrunError('USAGE', `${text}: not a registry`, { subject: text, hint: 'e.g. docker.io or localhost:5000' })
}
