import { accessSync, constants } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { badFlag } from '../errors.ts'

/** A file that is named must be there to be read: a login that silently is none helps nobody. Throws USAGE. */
export function parseAuthFile(text: string): string {
  try {
    accessSync(text, constants.R_OK)
  } catch (error) {
    throw badFlag('authfile', text, errnoOf(error) ?? 'not readable')
  }
  return text
}

/** `user:password`, or the user alone. No message repeats the value, which may hold a password. Throws USAGE. */
export function splitCreds(flag: string, text: string): { readonly user: string; readonly password?: string } {
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  if (user !== '') return { user, ...(colon < 0 ? {} : { password: text.slice(colon + 1) }) }
  throw new TscrunError('USAGE', `--${flag}: no user name in front of the colon`, { subject: `--${flag}` })
}

/** As `splitCreds`, where nobody can be asked for the password. */
export function parseCreds(text: string): { readonly user: string; readonly password: string } {
  const { user, password } = splitCreds('creds', text)
  if (password !== undefined) return { user, password }
  throw new TscrunError('USAGE', '--creds: no password behind a colon', {
    subject: '--creds',
    hint: `USER:PASSWORD, or log in with \`tscrun login\` first`,
  })
}
