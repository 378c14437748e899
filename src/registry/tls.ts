import * as fs from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { errnoOf } from '../model/errors.ts'
import type { Environment } from './credentials.ts'

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
export function tlsMaterial(host: string, env: Environment): TlsMaterial {
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
  for (const directory of certificateDirectories(host, env)) {
    const names = listIfThere(directory)
    for (const name of names) if (name.endsWith('.crt')) add(join(directory, name))
    const cert = names.find((name) => name.endsWith('.cert') && names.includes(name.replace(/cert$/, 'key')))
    if (cert !== undefined) {
      const key = fs.readFileSync(join(directory, cert.replace(/cert$/, 'key')))
      client ??= { cert: fs.readFileSync(join(directory, cert)), key }
    }
  }
  return { ca: [...ca], ...client }
}

function certificateDirectories(host: string, env: Environment): readonly string[] {
  const home = env['HOME'] || homedir()
  const bases = [join(home, '.config/containers/certs.d'), '/etc/containers/certs.d', '/etc/docker/certs.d']
  return bases.map((base) => join(base, host))
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
