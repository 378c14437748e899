import { type Flag, HELP_FLAG } from './flag.ts'

const CREDS: Flag = {
  name: 'creds',
  kind: 'string',
  value: 'user[:password]',
  help: 'Log in as this user for this command; without a password it is asked for',
}
const AUTHFILE: Flag = {
  name: 'authfile',
  kind: 'string',
  value: 'path',
  help: 'Login file (default $REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers/auth.json and others)',
}
const CERT_DIR: Flag = {
  name: 'cert-dir',
  kind: 'string',
  value: 'dir',
  help: 'CAs (*.crt) and a client certificate (*.cert, *.key) for the registry',
}
const TLS_VERIFY: Flag = {
  name: 'tls-verify',
  kind: 'bool',
  help: 'Require HTTPS with a valid certificate of the registry (default true, or as registries.conf says)',
}
const QUIET: Flag = { name: 'quiet', short: 'q', kind: 'bool', help: 'Print no progress' }
const PROGRESS_FORMAT: Flag = {
  name: 'format',
  kind: 'string',
  value: 'json',
  help: "'json': progress as one JSON object a line on standard output",
}
const ALL_PLATFORMS: Flag = {
  name: 'all-platforms',
  kind: 'bool',
  help: 'Take everything that an index names, not only the image of one platform',
}
/** Where an image may come from outside. */
export const MAX_UNPACK_SIZE: Flag = {
  name: 'max-unpack-size',
  kind: 'string',
  value: 'size',
  help: 'Most bytes an image may unpack to, 0 is any (default 100 times what is fetched, at least 10g, at most 1t)',
}
const PLATFORM: Flag = { name: 'platform', kind: 'string', value: 'os/arch', help: 'Take the image for this platform' }

export const PULL_FLAGS: readonly Flag[] = [
  ALL_PLATFORMS,
  { name: 'all-tags', short: 'a', kind: 'bool', help: 'Download every tag of the repository' },
  AUTHFILE,
  CERT_DIR,
  CREDS,
  PROGRESS_FORMAT,
  HELP_FLAG,
  MAX_UNPACK_SIZE,
  PLATFORM,
  QUIET,
  TLS_VERIFY,
]

export const PUSH_FLAGS: readonly Flag[] = [
  { name: 'all-tags', short: 'a', kind: 'bool', help: 'Send all images of the repository that are stored' },
  AUTHFILE,
  CERT_DIR,
  {
    name: 'compression-format',
    kind: 'string',
    value: 'format',
    help: 'Pack the layers anew: gzip or zstd (as they are stored without it)',
  },
  {
    name: 'compression-level',
    kind: 'string',
    value: 'level',
    help: 'How hard: 1 to 9 for gzip, 1 to 22 for zstd; gzip without a format',
  },
  CREDS,
  { name: 'digestfile', kind: 'string', value: 'path', help: 'Write the digest of the pushed image to this file' },
  { name: 'force-compression', kind: 'bool', help: 'Also pack layers anew that have the format already' },
  PROGRESS_FORMAT,
  HELP_FLAG,
  QUIET,
  TLS_VERIFY,
]

const side = (flag: Flag, prefix: 'src' | 'dest', where: string): Flag => ({
  ...flag,
  name: `${prefix}-${flag.name}`,
  help: `${flag.help}, for the ${where}`,
})

export const COPY_FLAGS: readonly Flag[] = [
  { ...ALL_PLATFORMS, short: 'a', aliases: ['all'] },
  AUTHFILE,
  side(CERT_DIR, 'dest', 'target'),
  side(CREDS, 'dest', 'target'),
  side(TLS_VERIFY, 'dest', 'target'),
  { name: 'digestfile', kind: 'string', value: 'path', help: 'Write the digest of the copied image to this file' },
  PROGRESS_FORMAT,
  HELP_FLAG,
  PLATFORM,
  QUIET,
  side(CERT_DIR, 'src', 'source'),
  side(CREDS, 'src', 'source'),
  side(TLS_VERIFY, 'src', 'source'),
]

export const LOGIN_FLAGS: readonly Flag[] = [
  AUTHFILE,
  CERT_DIR,
  { name: 'get-login', kind: 'bool', help: 'Print the user name of the login there is, and change nothing' },
  HELP_FLAG,
  {
    name: 'password',
    short: 'p',
    kind: 'string',
    value: 'text',
    help: 'Password; others can see it in a list of processes',
  },
  { name: 'password-stdin', kind: 'bool', help: 'Read the password from standard input' },
  TLS_VERIFY,
  { name: 'username', short: 'u', kind: 'string', value: 'name', help: 'User name' },
  { name: 'verbose', short: 'v', kind: 'bool', help: 'Print which file keeps the login' },
]

export const LOGOUT_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', kind: 'bool', help: 'Forget the logins of all registries' },
  AUTHFILE,
  HELP_FLAG,
]

export const SEARCH_FLAGS: readonly Flag[] = [
  AUTHFILE,
  CERT_DIR,
  CREDS,
  {
    name: 'filter',
    short: 'f',
    kind: 'list',
    value: 'key=value',
    help: 'Only what matches: stars=NUMBER (at least so many), is-official=true',
  },
  { name: 'format', kind: 'string', value: 'format', help: "'json', a Go template, or 'table TEMPLATE'" },
  HELP_FLAG,
  { name: 'limit', kind: 'string', value: 'number', help: 'At most so many (default 25)' },
  { name: 'list-tags', kind: 'bool', help: 'List the tags of a repository' },
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten descriptions' },
  TLS_VERIFY,
]

export const MANIFEST_FLAGS: readonly Flag[] = [AUTHFILE, CERT_DIR, CREDS, HELP_FLAG, TLS_VERIFY]
