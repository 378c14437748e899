import { TscrunError } from '../../model/errors.ts'
import type { RegistryAccess } from '../../registry/session.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { askSecret } from '../secret.ts'
import { parseAuthFile, splitCreds } from './auth.ts'

/** How registries are reached, by the flags; `side` is `src-` or `dest-` where a command has two. Throws USAGE. */
export async function parseAccess(flags: FlagValues, side: '' | 'src-' | 'dest-' = ''): Promise<RegistryAccess> {
  const authFile = flags.text('authfile')
  const certDir = flags.text(`${side}cert-dir`)
  const creds = flags.text(`${side}creds`)
  return {
    ...(flags.has(`${side}tls-verify`) ? { tlsVerify: flags.bool(`${side}tls-verify`) } : {}),
    ...(certDir === undefined || certDir === '' ? {} : { certDir }),
    ...(authFile === undefined || authFile === '' ? {} : { authFile: parseAuthFile(authFile) }),
    ...(creds === undefined ? {} : { creds: await credsOf(`${side}creds`, creds) }),
  }
}

async function credsOf(flag: string, text: string): Promise<{ readonly user: string; readonly password: string }> {
  const { user, password } = splitCreds(flag, text)
  return { user, password: password ?? (await askSecret(`Password of ${user}: `, 'log in with `tscrun login` first')) }
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
