import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type * as Tscrun from '../../src/index.ts'
import { openPty } from '../kernel/fixtures/pty.ts'
import { type MemoryRegistry, type Meddle, startMemoryRegistry } from '../unit/fixtures/memory-registry.ts'
import { type FaultyRegistry, startFaultyRegistry } from './fixtures/faulty-registry.ts'
import { makeImage } from './fixtures/images.ts'

const TSCRUN = fileURLToPath(new URL('../../bin/tscrun', import.meta.url))
const INDEX = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
const SECRET = 'correct-horse-battery'
const TOKEN = 'token-that-nobody-may-see'

let root: string
let stop: (() => Promise<void>)[]

beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-cli-'))
  stop = []
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const end of stop) await end()
  fs.rmSync(root, { recursive: true })
})

interface Ended {
  readonly code: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** Runs the real program as a user with a home of their own. */
async function tscrun(argv: readonly string[], options: { input?: string; env?: object } = {}): Promise<Ended> {
  const { exitCode, stdout, stderr } = await execa(TSCRUN, argv, {
    reject: false,
    stripFinalNewline: false,
    env: environment(options.env),
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
  })
  return { code: exitCode, stdout, stderr }
}

function environment(more: object = {}): Record<string, string> {
  return {
    HOME: root,
    XDG_RUNTIME_DIR: join(root, 'run'),
    CONTAINERS_REGISTRIES_CONF: join(root, 'registries.conf'),
    SUDO_USER: '',
    ...more,
  }
}

function store(...words: string[]): string[] {
  return ['--root', join(root, 'store'), '--runroot', join(root, 'runroot'), ...words]
}

/** A registry that gives tokens for `me` and the right password, and takes only those. */
async function guardedRegistry(): Promise<MemoryRegistry> {
  const guard: Meddle = ({ path, headers }, response, raw) => {
    if (path === '/token') {
      const isRight = headers.authorization === `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`
      if (isRight) response.end(JSON.stringify({ token: TOKEN }))
      else response.writeHead(401).end()
      return true
    }
    if (headers.authorization === `Bearer ${TOKEN}`) return false
    raw.resume()
    const challenge = `Bearer realm="http://${registry.host}/token",service="r"`
    raw.on('end', () => response.writeHead(401, { 'www-authenticate': challenge }).end())
    return true
  }
  const registry = await startMemoryRegistry(guard)
  stop.push(registry.stop)
  return registry
}

/** A registry with a small image, for everybody. */
async function imageRegistry(): Promise<FaultyRegistry> {
  const image = await makeImage({ layers: [[{ name: 'file', content: 'hello' }]] })
  const registry = await startFaultyRegistry(image, () => false)
  stop.push(registry.stop)
  return registry
}

describe('login and logout', () => {
  it('try the password, keep it, say who one is, and forget it', async () => {
    const { host } = await guardedRegistry()
    const login = ['login', '-u', 'me', '--password-stdin', host]
    expect(await tscrun(login, { input: 'wrong\n' })).toMatchObject({
      code: 125,
      stdout: '',
      stderr: `tscrun: login to ${host}: the registry refuses access (401) (check the user name and the password)\n`,
    })
    const file = join(root, 'run/containers/auth.json')
    expect(fs.existsSync(file)).toBe(false)
    expect(await tscrun(login, { input: `${SECRET}\n` })).toMatchObject({ code: 0, stdout: 'Login Succeeded!\n' })
    expect(fs.statSync(file).mode & 0o777).toBe(0o600)
    expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toEqual({
      auths: { [host]: { auth: Buffer.from(`me:${SECRET}`).toString('base64') } },
    })
    expect(await tscrun(['login', '--get-login', host])).toMatchObject({ code: 0, stdout: 'me\n' })
    expect(await tscrun(['logout', `https://${host}/`])).toMatchObject({ code: 0 })
    expect(await tscrun(['logout', host])).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('not logged in'),
    })
    expect(await tscrun(['login', '--get-login', host])).toMatchObject({ code: 125, stdout: '' })
  })

  it('write where --authfile says, and skopeo reads that', async () => {
    const { host } = await guardedRegistry()
    const file = join(root, 'mine.json')
    const login = ['login', '-u', 'me', '--password-stdin', '--authfile', file, host]
    expect(await tscrun(login, { input: SECRET })).toMatchObject({ code: 0 })
    const { stdout } = await execa('skopeo', ['login', '--get-login', '--authfile', file, host])
    expect(stdout).toBe('me')
    expect(await tscrun(['logout', '--all', '--authfile', file])).toMatchObject({ code: 0 })
    expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toEqual({ auths: {} })
  })

  it('ask on a terminal, where the password is not seen', async () => {
    const { host } = await guardedRegistry()
    const command = ['env', ...Object.entries(environment()).map(([name, value]) => `${name}=${value}`), TSCRUN]
    const terminal = openPty([...command, 'login', host], { rows: 24, columns: 100 })
    try {
      await expect.poll(terminal.output, { timeout: 20_000 }).toContain('Username: ')
      terminal.type('me\n')
      await expect.poll(terminal.output, { timeout: 20_000 }).toContain('Password: ')
      await expect.poll(terminal.settings, { timeout: 20_000 }).toContain('-echo')
      terminal.type(`${SECRET}x\u007f\r`)
      expect(await terminal.ended).toBe(0)
      await expect.poll(terminal.output, { timeout: 20_000 }).toContain('Login Succeeded!')
      expect(terminal.output()).not.toContain(SECRET)
      expect(terminal.settings()).toMatch(/ echo /)
    } finally {
      terminal.close()
    }
  })

  it('want a user name with --password-stdin, and a terminal without it', async () => {
    expect(await tscrun(['login', '--password-stdin', 'r.test'], { input: 'x' })).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^tscrun: --password-stdin: needs --username[^\n]*\n$/),
    })
    expect(await tscrun(['login', 'r.test'])).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(
        /^tscrun: ask for a login: standard input is no terminal[^\n]*--password-stdin[^\n]*\n$/,
      ),
    })
  })
})

describe('secrets', () => {
  it('are in no output of --debug and in no message, whatever succeeds or fails', async () => {
    const images = await imageRegistry()
    const { host } = await guardedRegistry()
    const from = `${images.host}/app:1`
    const creds = ['--creds', `me:${SECRET}`]
    const bad = ['--creds', 'me:another-secret']
    const runs = [
      await tscrun(['--debug', 'login', '-u', 'me', '--password-stdin', host], { input: SECRET }),
      await tscrun(store('--debug', 'pull', from)),
      await tscrun(store('--debug', 'push', ...creds, from, `${host}/a/b:1`)),
      await tscrun(store('--debug', 'pull', ...creds, `${host}/a/b:1`)),
      await tscrun(store('--debug', 'pull', `${host}/a/b:1`)),
      await tscrun(store('--debug', 'push', ...bad, from, `${host}/a/c:1`)),
      await tscrun(store('--debug', 'pull', ...bad, `${host}/a/b:1`)),
      await tscrun(store('--debug', 'pull', ...creds, `${host}/not/there:1`)),
      await tscrun(
        store('--debug', 'copy', '--dest-creds', `me:${SECRET}`, `docker://${from}`, `docker://${host}/c:1`),
      ),
      await tscrun(store('--debug', 'pull', '--creds', `:${SECRET}`, from)),
      await tscrun(store('--debug', 'pull', from), { env: { HTTPS_PROXY: `ftp://me:${SECRET}@proxy.test` } }),
      await tscrun(store('--debug', 'pull', 'other.test/x'), { env: { HTTPS_PROXY: `ftp://me:${SECRET}@proxy.test` } }),
    ]
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 125, 125, 125, 0, 125, 0, 125])
    const all = runs.map(({ stdout, stderr }) => stdout + stderr).join('\n')
    expect(all).toContain(`GET http://${host}/token: 200`)
    for (const secret of [SECRET, TOKEN, 'another-secret', Buffer.from(`me:${SECRET}`).toString('base64')]) {
      expect(all).not.toContain(secret)
    }
    expect(runs.flatMap(({ stderr }) => stderr.match(/^tscrun: .*$/gm) ?? [])).toHaveLength(5)
  })

  it('of a container that is made are kept nowhere', async () => {
    const images = await imageRegistry()
    const { host } = await guardedRegistry()
    const creds = ['--creds', `me:${SECRET}`]
    const name = `${host}/a/b:1`
    await tscrun(store('copy', '-q', '--dest-creds', `me:${SECRET}`, `docker://${images.host}/x:1`, `docker://${name}`))
    expect(await tscrun(store('create', '--creds', 'me', name, '/file'))).toMatchObject({ code: 125 })
    expect(await tscrun(store('create', '-q', '--name', 'made', ...creds, name, '/file'))).toMatchObject({ code: 0 })
    const { exitCode, stdout } = await execa('grep', ['-r', SECRET, root], { reject: false })
    expect(stdout).toBe('')
    expect(exitCode).toBe(1)
    expect(await tscrun(store('rm', 'made'))).toMatchObject({ code: 0 })
  })

  it('under sudo the message says whose logins count', async () => {
    const { host } = await guardedRegistry()
    expect(await tscrun(store('pull', `${host}/a:1`), { env: { SUDO_USER: 'somebody' } })).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/under sudo the logins of root count \(\S+\), not those of somebody\)\n$/),
    })
  })
})

describe('a pull that is interrupted', () => {
  it('ends, says nothing is stored, and the next one asks only for the rest', async () => {
    const content = Buffer.alloc(3 << 20)
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at)
    const image = await makeImage({ layers: [[{ name: 'file', content }]] })
    const isLayer = (path: string): boolean => path.endsWith(image.layers[0]?.digest ?? '')
    const registry = await startFaultyRegistry(image, ({ path, times, body }, response) => {
      if (!isLayer(path) || times > 1) return false
      response.writeHead(200, { 'content-length': body?.length ?? 0 })
      response.write(body?.subarray(0, 500_000))
      return true
    })
    stop.push(registry.stop)
    const name = `${registry.host}/app:1`
    const pulling = execa(TSCRUN, store('pull', name), { reject: false, env: environment(), stdin: 'ignore' })
    const partial = join(root, 'store/work', `blob-${image.layers[0]?.digest.slice('sha256:'.length)}`)
    await expect.poll(() => fs.statSync(partial, { throwIfNoEntry: false })?.size, { timeout: 20_000 }).toBe(500_000)
    pulling.kill('SIGINT')
    expect(await pulling).toMatchObject({ exitCode: 130 })
    expect((await tscrun(store('images', '-q'))).stdout).toBe('')
    const again = await tscrun(store('pull', '--format', 'json', name))
    expect(again).toMatchObject({ code: 0, stderr: '' })
    expect(registry.log.filter(({ path }) => isLayer(path)).map(({ headers }) => headers.range)).toEqual([
      undefined,
      expect.stringMatching(/^bytes=500000-/),
    ])
    const events = again.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; phase?: string })
    expect(events[0]).toMatchObject({ type: 'resolved', verb: 'pull', reference: name })
    expect(events.filter(({ type }) => type === 'layer').map(({ phase }) => phase)).toEqual(
      expect.arrayContaining(['waiting', 'downloading', 'complete']),
    )
    expect(events.at(-1)).toMatchObject({ type: 'done', fresh: true })
  })
})

describe('an image that is refused', () => {
  it.each(['pull', 'run', 'create'])('leaves nothing of itself where it was wanted by %s', async (verb) => {
    const image = await makeImage({
      layers: [[{ name: 'good', content: Buffer.alloc(1 << 20) }], [{ name: 'bad', content: 'b' }]],
    })
    const bad = image.layers[1]?.digest ?? ''
    const registry = await startFaultyRegistry(image, ({ path, body }, response) => {
      if (!path.endsWith(bad)) return false
      response.end(Buffer.alloc(body?.length ?? 0))
      return true
    })
    stop.push(registry.stop)
    const { code, stderr } = await tscrun(store(verb, '-q', `${registry.host}/app:1`))
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringMatching(/^tscrun: fetch sha256:[^\n]*other bytes than the image promises \([^\n]*\)\n$/),
    })
    const left = ['images/blobs/sha256', 'layers', 'records', 'work'].flatMap((kind) =>
      fs.readdirSync(join(root, 'store', kind)),
    )
    expect(left).toEqual([])
  })
})

describe('search and manifest inspect', () => {
  it('show what a registry has, page by page, or says with the older API', async () => {
    const repositories = ['a/alpine', 'b/busybox', 'c/alpine-extra']
    const paged = await startMemoryRegistry(({ path, query }, response) => {
      if (path !== '/v2/_catalog') return false
      const last = repositories.indexOf(query.get('last') ?? '') + 1
      const next =
        last + 1 < repositories.length ? `</v2/_catalog?n=1&last=${repositories[last]}>; rel="next"` : undefined
      response.writeHead(200, next === undefined ? {} : { link: next })
      response.end(JSON.stringify({ repositories: [repositories[last]] }))
      return true
    })
    const old = await startMemoryRegistry(({ path, query }, response) => {
      if (path === '/v2/_catalog') response.writeHead(404).end()
      else if (path === '/v1/search') {
        const result = { name: query.get('q'), description: 'two\nlines \u001b[31m', star_count: 7, is_official: true }
        response.end(JSON.stringify({ results: [result, { name: 'few', star_count: 1 }] }))
      } else return false
      return true
    })
    stop.push(paged.stop, old.stop)
    const found = await tscrun(['search', '--format', '{{.Name}}', `${paged.host}/alpine`])
    expect(found).toMatchObject({ code: 0, stdout: `${paged.host}/a/alpine\n${paged.host}/c/alpine-extra\n` })
    const filtered = await tscrun(['search', '-f', 'stars=2', '-f', 'is-official=true', `${old.host}/x`])
    expect(filtered).toMatchObject({ code: 0 })
    expect(filtered.stdout.split('\n').slice(1).join('\n')).toMatch(
      new RegExp(`^${old.host}/x +two lines  \\[31m +7 +\\[OK\\]\\n$`),
    )
  })

  it('print the manifest as the registry sent it', async () => {
    const { host } = await imageRegistry()
    const { stdout } = await tscrun(['manifest', 'inspect', `docker://${host}/app:1`])
    const raw = await execa('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${host}/app:1`])
    expect(stdout).toBe(`${raw.stdout}\n`)
  })
})

describe('short names and registries.conf', () => {
  it('pull, run, list and remove by the name that stands for it', async () => {
    const { host } = await imageRegistry()
    fs.writeFileSync(
      join(root, 'registries.conf'),
      `unqualified-search-registries = ["${host}"]\n[aliases]\n"mine" = "${host}/aliased/image"\n`,
    )
    expect(await tscrun(store('pull', '-q', 'mine:2'))).toMatchObject({ code: 0, stdout: `${host}/aliased/image:2\n` })
    expect(await tscrun(store('pull', '-q', 'other'))).toMatchObject({ code: 0, stdout: `${host}/other:latest\n` })
    expect((await tscrun(store('inspect', '--format', '{{.RepoTags}}', 'mine:2'))).stdout).toContain('aliased/image:2')
    expect(await tscrun(store('rmi', 'other'))).toMatchObject({ code: 0 })
    expect(await tscrun(store('history', '-q', 'mine:2'))).toMatchObject({ code: 0 })
    expect(await tscrun(store('image', 'exists', 'mine:2'))).toMatchObject({ code: 0 })
    expect((await tscrun(store('images', '--format', '{{.Repository}}'))).stdout).toBe(`${host}/aliased/image\n`)
  })

  it('are looked for at one registry after the other, as long as each answers', async () => {
    const { host } = await imageRegistry()
    const empty = await startMemoryRegistry()
    const search = (...hosts: string[]): void =>
      fs.writeFileSync(
        join(root, 'registries.conf'),
        `unqualified-search-registries = ${JSON.stringify(hosts)}\nshort-name-mode = "disabled"\n`,
      )
    search(empty.host, host)
    expect(await tscrun(store('pull', '-q', 'found'))).toMatchObject({ code: 0, stdout: `${host}/found:latest\n` })
    await empty.stop()
    const failed = await tscrun(store('pull', '-q', 'lost'))
    expect(failed).toMatchObject({ code: 125, stdout: '', stderr: expect.stringContaining(`connect ${empty.host}`) })
  })

  it('are what an engine of a program says, beside the files', async () => {
    const { host } = await imageRegistry()
    fs.writeFileSync(join(root, 'registries.conf'), '[[registry]]\nlocation = "evil.test"\nblocked = true\n')
    const { createEngine } = (await import(INDEX)) as typeof Tscrun
    const engine = createEngine({
      root: join(root, 'store'),
      runRoot: join(root, 'runroot'),
      registries: {
        search: ['evil.test'],
        aliases: { mine: 'far.test/image' },
        registries: [{ location: 'far.test', mirrors: [{ location: `${host}/near`, insecure: true }] }],
      },
    })
    vi.stubEnv('CONTAINERS_REGISTRIES_CONF', join(root, 'registries.conf'))
    expect(await engine.pull('mine:2')).toMatchObject({ reference: 'far.test/image:2' })
    await expect(engine.pull('other')).rejects.toMatchObject({ code: 'REGISTRY_BLOCKED' })
    expect((await engine.images()).map(({ repository }) => repository)).toEqual(['far.test/image'])
    expect(await tscrun(store('pull', '-q', 'mine:2'))).toMatchObject({ code: 125 })
  })

  it('are told of a blocked registry', async () => {
    fs.writeFileSync(join(root, 'registries.conf'), '[[registry]]\nlocation = "evil.test"\nblocked = true\n')
    for (const argv of [
      ['pull', 'evil.test/x'],
      ['search', 'evil.test/x'],
      ['login', '-u', 'a', '-p', 'b', 'evil.test'],
    ]) {
      expect(await tscrun(store(...argv))).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/^tscrun: image evil\.test(\/x)?: blocked by .*registries\.conf \([^\n]*\n$/),
      })
    }
  })
})
