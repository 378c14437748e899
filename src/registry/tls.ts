import * as fs from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { type Environment, homeOf } from './environment.ts'

/** The certificates a TLS connection is made with; `ca` replaces Node's own list, so it contains that. */
export interface TlsMaterial {
  readonly ca: readonly string[]
  readonly cert?: Buffer
  readonly key?: Buffer
}

const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * Node's roots, the system's bundle, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS (which the launcher renames, since Node
 * parses it at every start) and the registry's certs.d directories (containers-certs.d(5)).
 */
export function tlsMaterial(
  url: Pick<URL, 'host' | 'port'>,
  env: Environment,
  own?: { readonly host: string; readonly directory: string },
): TlsMaterial {
  const ca = new Set<string>(rootCertificates)
  const add = (file: string): boolean => {
    const text = readText(file)
    for (const [certificate] of text?.matchAll(CERTIFICATE) ?? []) ca.add(certificate)
    return text !== undefined
  }
  SYSTEM_BUNDLES.find(add)
  for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'TSCRUN_NODE_EXTRA_CA_CERTS']) {
    const file = env[name]
    if (file) add(file)
  }
  let client: { cert: Buffer; key: Buffer } | undefined
  const directories = own?.host === url.host ? [own.directory] : certificateDirectories(url, env)
  for (const directory of directories) {
    const names = listIfThere(directory)
    for (const name of names) if (name.endsWith('.crt')) add(join(directory, name))
    const cert = names.find((name) => name.endsWith('.cert'))
    if (cert !== undefined) client ??= clientCertificate(directory, cert)
  }
  return { ca: [...ca], ...client }
}

/** A certificate without its key would be a login that silently is none (containers-certs.d(5)). */
function clientCertificate(directory: string, name: string): { cert: Buffer; key: Buffer } {
  const path = join(directory, name)
  try {
    return { cert: fs.readFileSync(path), key: fs.readFileSync(path.replace(/cert$/, 'key')) }
  } catch (error) {
    throw new TscrunError('REGISTRY_AUTH', `client certificate ${path}: ${errnoOf(error) ?? 'not readable'}`, {
      subject: path,
      hint: `it needs its key beside it: ${path.replace(/cert$/, 'key')}`,
      cause: error,
    })
  }
}

function certificateDirectories({ host, port }: Pick<URL, 'host' | 'port'>, env: Environment): readonly string[] {
  // A default port is no part of an address, but of the name of such a directory.
  const names = port === '' ? [host, `${host}:443`] : [host]
  const home = homeOf(env)
  const bases = [join(home, '.config/containers/certs.d'), '/etc/containers/certs.d', '/etc/docker/certs.d']
  return bases.flatMap((base) => names.map((name) => join(base, name)))
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'latin1')
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

function listIfThere(directory: string): readonly string[] {
  try {
    return fs.readdirSync(directory).sort()
  } catch (error) {
    if (isAbsent(error)) return []
    throw error
  }
}

/** A file that is not there or not for us adds no trust; the connection then says what is missing. */
function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR'].includes(errnoOf(error) ?? '')
}
