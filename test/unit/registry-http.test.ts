import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseChallenges } from '../../src/registry/challenge.ts'
import { authFiles } from '../../src/registry/auth-files.ts'
import { openRegistry } from '../../src/registry/client.ts'
import { findCredentials } from '../../src/registry/credentials.ts'
import type { RegistryOptions } from '../../src/registry/session.ts'
import { createTransport } from '../../src/registry/transport.ts'
import { isLoopback } from '../../src/registry/hosts.ts'
import { proxyFor } from '../../src/registry/proxy.ts'

let directory: string
let servers: { close(): unknown; closeAllConnections(): void }[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-http-'))
  servers = []
})
afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  rmSync(directory, { recursive: true })
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function tagOf(registry: string, options: Partial<RegistryOptions> = {}): Promise<string> {
  const client = openRegistry({
    registry,
    repository: 'image',
    env: { HOME: directory },
    retry: { retries: 0, delayMs: 1, maxDelayMs: 10 },
    ...options,
  })
  try {
    return (await client.manifest('1', [], 1000)).bytes.toString()
  } finally {
    client.close()
  }
}

/** A registry with a certificate for localhost that only `ca.pem` vouches for. */
async function secureRegistry(): Promise<{ port: number; ca: string }> {
  const [key, ca] = [join(directory, 'key.pem'), join(directory, 'ca.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  await execa('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', ca])
  const { readFileSync } = await import('node:fs')
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(ca) }, (_, response) =>
    response.end('secure'),
  )
  return { port: await listen(server), ca }
}

describe('TLS to a registry', () => {
  it('refuses a certificate nobody vouches for, and says what to do', async () => {
    const { port } = await secureRegistry()
    await expect(tagOf(`localhost:${port}`)).rejects.toMatchObject({
      code: 'NETWORK',
      hint: expect.stringContaining('certs.d'),
    })
  })

  it.each(['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'TSCRUN_NODE_EXTRA_CA_CERTS'])(
    'trusts what %s names',
    async (name) => {
      const { port, ca } = await secureRegistry()
      expect(await tagOf(`localhost:${port}`, { env: { HOME: directory, [name]: ca } })).toBe('secure')
    },
  )

  it('trusts the CA in the certs.d directory of the registry', async () => {
    const { port, ca } = await secureRegistry()
    const certs = join(directory, '.config/containers/certs.d', `localhost:${port}`)
    await execa('install', ['-D', ca, join(certs, 'ca.crt')])
    expect(await tagOf(`localhost:${port}`)).toBe('secure')
  })

  /** A registry that only answers who shows the certificate in `client.cert`. */
  async function clientRegistry(certs: string): Promise<number> {
    const { ca } = await secureRegistry()
    const { readFileSync } = await import('node:fs')
    const key = readFileSync(join(directory, 'key.pem'))
    const options = { key, cert: readFileSync(ca), ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true }
    const port = await listen(createTlsServer(options, (_, response) => response.end('known')))
    await execa('install', ['-D', ca, join(certs, 'ca.crt')])
    await execa('install', ['-D', ca, join(certs, 'client.cert')])
    await execa('install', ['-D', join(directory, 'key.pem'), join(certs, 'client.key')])
    return port
  }

  it('shows the client certificate of certs.d, or of --cert-dir, to that registry', async () => {
    const certs = join(directory, 'certs')
    const port = await clientRegistry(certs)
    await expect(tagOf(`localhost:${port}`)).rejects.toMatchObject({ code: 'NETWORK' })
    expect(await tagOf(`localhost:${port}`, { certDir: certs })).toBe('known')
    await execa('mkdir', ['-p', join(directory, '.config/containers/certs.d')])
    await execa('cp', ['-r', certs, join(directory, '.config/containers/certs.d', `localhost:${port}`)])
    expect(await tagOf(`localhost:${port}`)).toBe('known')
  })

  it('says which key a client certificate lacks', async () => {
    const certs = join(directory, 'certs')
    const port = await clientRegistry(certs)
    rmSync(join(certs, 'client.key'))
    await expect(tagOf(`localhost:${port}`, { certDir: certs })).rejects.toMatchObject({
      code: 'REGISTRY_AUTH',
      message: `client certificate ${join(certs, 'client.cert')}: ENOENT`,
      hint: expect.stringContaining('client.key'),
    })
  })

  it('asks for no proof where verification is switched off', async () => {
    const { port } = await secureRegistry()
    expect(await tagOf(`localhost:${port}`, { tlsVerify: false })).toBe('secure')
  })
})

describe('proxies', () => {
  it('asks through a tunnel for https, and hands plain http over, with the login for the proxy', async () => {
    const { port } = await secureRegistry()
    const asked: string[] = []
    const proxy = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
      response.end('handed over')
    })
    let isOpen = false
    proxy.on('connect', (request, socket) => {
      asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
      if (!isOpen) return socket.end('HTTP/1.1 403 no\r\n\r\n')
      const onward = connect(port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        socket.pipe(onward).pipe(socket)
      })
    })
    const address = `http://me:secret@127.0.0.1:${await listen(proxy)}`
    const env = { HOME: directory, HTTPS_PROXY: address, HTTP_PROXY: address }
    const login = `Basic ${Buffer.from('me:secret').toString('base64')}`
    expect(await tagOf('registry.test:5000', { tlsVerify: false, env })).toBe('handed over')
    expect(asked[0]).toBe(`CONNECT registry.test:5000 ${login}`)
    expect(asked[1]).toBe(`GET http://registry.test:5000/v2/ ${login}`)
    expect(asked.at(-1)).toMatch(/^GET http:\/\/registry\.test:5000\/v2\/\S+ Basic /)
    await expect(tagOf('registry.test', { env })).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringContaining('403'),
    })
    isOpen = true
    expect(await tagOf('registry.test', { tlsVerify: false, env })).toBe('secure')
  })

  it('names the proxy that is not there', async () => {
    const env = { HOME: directory, HTTP_PROXY: 'http://127.0.0.1:1', HTTPS_PROXY: 'http://127.0.0.1:1' }
    const transport = createTransport({ tlsVerify: true, env, idleTimeoutMs: 10_000 })
    await expect(transport.request(new URL('http://registry.test/'), {})).rejects.toThrow(
      'connect registry.test:80 through the proxy 127.0.0.1:1: connect ECONNREFUSED',
    )
    transport.close()
    await expect(tagOf('registry.test', { env })).rejects.toThrow('through the proxy 127.0.0.1:1: ')
  })

  it.each([
    ['https://registry.test/', { HTTPS_PROXY: 'http://p:1' }, 'p:1'],
    ['https://registry.test/', { https_proxy: 'p:1', HTTPS_PROXY: 'q:2' }, 'p:1'],
    ['https://registry.test/', { HTTP_PROXY: 'http://p:1' }, undefined],
    ['https://registry.test/', { ALL_PROXY: 'http://p:1' }, 'p:1'],
    ['https://registry.test/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'test' }, undefined],
    ['https://registry.test/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'x, .registry.test' }, undefined],
    ['https://registry.test/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'egistry.test' }, 'p:1'],
    ['https://registry.test:5000/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'registry.test:443' }, 'p:1'],
    ['https://registry.test:5000/', { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'registry.test:5000' }, undefined],
    ['https://registry.test/', { HTTPS_PROXY: 'http://p:1', no_proxy: '*' }, undefined],
    ['https://[2001:db8::1]/', { HTTPS_PROXY: 'http://p:1', no_proxy: '2001:db8::1' }, undefined],
    ['http://127.0.0.1:5000/', { HTTP_PROXY: 'http://p:1' }, undefined],
  ])('for %s with %j takes %s', (url, env, host) => {
    expect(proxyFor(new URL(url), env)?.host).toBe(host)
  })

  it('refuses an address that is none', () => {
    expect(() => proxyFor(new URL('https://r.test'), { HTTPS_PROXY: 'socks5://p' })).toThrow(
      expect.objectContaining({ code: 'NETWORK' }),
    )
  })
})

describe('WWW-Authenticate', () => {
  it.each([
    [
      'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
      [['bearer', { realm: 'https://a/t', service: 's', scope: 'repository:x:pull,push' }]],
    ],
    ['Basic realm="a \\"b\\""', [['basic', { realm: 'a "b"' }]]],
    [
      'Basic, Bearer realm=x',
      [
        ['basic', {}],
        ['bearer', { realm: 'x' }],
      ],
    ],
    [
      'bearer  REALM = "x" , Basic realm="y"',
      [
        ['bearer', { realm: 'x' }],
        ['basic', { realm: 'y' }],
      ],
    ],
    ['', []],
    ['"""', []],
  ])('reads %s', (header, wanted) => {
    const read = parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])
    expect(read).toEqual(wanted)
  })
})

describe('logins', () => {
  const auth = (text: string): string => Buffer.from(text).toString('base64')
  const write = (auths: object): { REGISTRY_AUTH_FILE: string } => {
    const file = join(directory, 'auth.json')
    writeFileSync(file, JSON.stringify({ auths }))
    return { REGISTRY_AUTH_FILE: file }
  }

  it('takes the longest name that fits', async () => {
    const env = write({ 'r.test': { auth: auth('all:1') }, 'r.test/team': { auth: auth('team:a:b') } })
    expect(await findCredentials({ registry: 'r.test', repository: 'team/app', env })).toMatchObject({
      user: 'team',
      password: 'a:b',
    })
    expect(await findCredentials({ registry: 'r.test', repository: 'teams/app', env })).toMatchObject({ user: 'all' })
    expect(await findCredentials({ registry: 'other.test', repository: 'x', env })).toBeUndefined()
  })

  it("knows Docker Hub's old name, and identity tokens", async () => {
    const env = write({ 'https://index.docker.io/v1/': { auth: auth('me:x'), identitytoken: 'tok' } })
    expect(await findCredentials({ registry: 'docker.io', repository: 'library/alpine', env })).toMatchObject({
      kind: 'identity',
      token: 'tok',
    })
  })

  it('says which file is damaged', async () => {
    const file = join(directory, 'auth.json')
    writeFileSync(file, '{')
    const env = { REGISTRY_AUTH_FILE: file }
    await expect(findCredentials({ registry: 'r.test', repository: 'x', env })).rejects.toMatchObject({
      code: 'REGISTRY_AUTH',
      message: expect.stringContaining(file),
    })
  })

  it('looks in the documented order', () => {
    expect(authFiles({ HOME: '/h', XDG_RUNTIME_DIR: '/run/u' })).toEqual([
      '/run/u/containers/auth.json',
      '/h/.config/containers/auth.json',
      '/h/.docker/config.json',
      '/h/.dockercfg',
    ])
  })
})

describe('loopback', () => {
  it.each(['localhost', 'LOCALHOST', '127.0.0.1', '127.8.8.8', '::1', '[::1]'])('is %s', (host) => {
    expect(isLoopback(host)).toBe(true)
  })
  it.each(['localhost.evil.test', '127.0.0.1.evil.test', '128.0.0.1', '::', '1270.0.0.1'])('is not %s', (host) => {
    expect(isLoopback(host)).toBe(false)
  })
})

describe('a host that is no address', () => {
  it.each(['127.0.0.1:99999', '999.1.1.1', '1.2.3.4.5', '[:]:5'])('is refused in one line: %s', (registry) => {
    expect(() => openRegistry({ registry, repository: 'a' })).toThrow(
      expect.objectContaining({
        code: 'INVALID_REFERENCE',
        message: `registry ${JSON.stringify(registry)}: not an address`,
        hint: expect.stringContaining('65535'),
      }),
    )
  })
})
