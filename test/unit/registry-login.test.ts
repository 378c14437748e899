import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { primaryAuthFile, readAuthFile } from '../../src/registry/auth-files.ts'
import { removeAllLogins, removeLogin, saveLogin } from '../../src/registry/auth-write.ts'
import { type Credentials, findCredentials, type Lookup } from '../../src/registry/credentials.ts'
import type { Environment } from '../../src/registry/environment.ts'

let directory: string
let env: Environment

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-login-'))
  mkdirSync(join(directory, 'bin'))
  env = {
    HOME: directory,
    XDG_RUNTIME_DIR: join(directory, 'run'),
    PATH: `${join(directory, 'bin')}:/usr/bin:/bin`,
  }
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

const SECRET = 'hunter2:with a colon'
const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** Puts `docker-credential-NAME` on the PATH. */
function helper(name: string, script: string): void {
  const path = join(directory, 'bin', `docker-credential-${name}`)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

/** One that keeps logins in files, and notes how it was called. */
function fileHelper(name: string): void {
  const kept = join(directory, `kept-${name}`)
  mkdirSync(kept)
  helper(
    name,
    `echo "$1" "$#" >> ${directory}/calls-${name}
input=$(cat)
key() { printf %s "$1" | tr / _; }
case $1 in
  store) server=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); printf %s "$input" > ${kept}/$(key "$server") ;;
  get) cat ${kept}/$(key "$input") 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
  erase) rm ${kept}/$(key "$input") 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
  list) cd ${kept}; printf '{'; sep=; for f in *; do printf '%s"%s":"x"' "$sep" "$f"; sep=,; done; echo '}' ;;
esac`,
  )
}

function write(path: string, document: object): void {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, JSON.stringify(document))
}

function find(registry: string, repository = 'team/app', more: Partial<Lookup> = {}): Promise<Credentials | undefined> {
  return findCredentials({ registry, repository, env, ...more })
}

describe('where a login is found', () => {
  const FILES = ['run/containers/auth.json', '.config/containers/auth.json', '.docker/config.json', '.dockercfg']

  it('is the first file with one, in the documented order', async () => {
    for (const path of FILES.toReversed()) {
      const auths = { 'r.test': { auth: base64(`${path}:x`) } }
      write(join(directory, path), path === '.dockercfg' ? auths : { auths })
      expect(await find('r.test')).toMatchObject({ user: path, source: join(directory, path) })
    }
  })

  it('is the file named, and no other', async () => {
    write(join(directory, FILES[0] ?? ''), { auths: { 'r.test': { auth: base64('primary:x') } } })
    const authFile = join(directory, 'mine.json')
    write(authFile, { auths: { 'other.test': { auth: base64('me:x') } } })
    expect(await find('r.test', 'a', { authFile })).toBeUndefined()
    expect(await find('other.test', 'a', { authFile })).toMatchObject({ user: 'me' })
    env = { ...env, REGISTRY_AUTH_FILE: authFile }
    expect(await find('r.test')).toBeUndefined()
  })

  it('is an entry of the longest path that holds the repository', async () => {
    const auths = Object.fromEntries(
      ['r.test', 'r.test/team', 'r.test/team/app', 'r.test/te'].map((key) => [key, { auth: base64(`${key}:x`) }]),
    )
    write(primaryAuthFile(env), { auths })
    expect(await find('r.test', 'team/app')).toMatchObject({ user: 'r.test/team/app' })
    expect(await find('r.test', 'team/other')).toMatchObject({ user: 'r.test/team' })
    expect(await find('r.test', 'tea')).toMatchObject({ user: 'r.test' })
    expect(await find('r.test.evil', 'team/app')).toBeUndefined()
  })

  it('is the helper of the registry before any entry, and the store of the file after', async () => {
    helper('own', `[ "$(cat)" = r.test ] && echo '{"Username":"helped","Secret":"${SECRET}"}'`)
    helper('store', `echo '{"Username":"<token>","Secret":"refresh"}'`)
    write(primaryAuthFile(env), {
      auths: { 'r.test': { auth: base64('entry:x') }, 'e.test': { auth: base64('entry:x') } },
      credHelpers: { 'r.test': 'own' },
      credsStore: 'store',
    })
    expect(await find('r.test')).toEqual({
      kind: 'basic',
      user: 'helped',
      password: SECRET,
      source: 'docker-credential-own',
    })
    expect(await find('e.test')).toMatchObject({ user: 'entry' })
    expect(await find('s.test')).toEqual({ kind: 'identity', token: 'refresh', source: 'docker-credential-store' })
  })

  it('is a helper of registries.conf, in its turn', async () => {
    helper('all', `echo '{"Username":"by-all","Secret":"x"}'`)
    helper('none', 'echo credentials not found in native keychain; exit 1')
    write(primaryAuthFile(env), { auths: { 'r.test': { auth: base64('file:x') } } })
    expect(await find('r.test', 'a', { helpers: ['none', 'containers-auth.json', 'all'] })).toMatchObject({
      user: 'file',
    })
    expect(await find('q.test', 'a', { helpers: ['none', 'containers-auth.json', 'all'] })).toMatchObject({
      user: 'by-all',
    })
    expect(await find('r.test', 'a', { helpers: ['all', 'containers-auth.json'] })).toMatchObject({ user: 'by-all' })
  })
})

describe('a credential helper that misbehaves', () => {
  const hostile: readonly (readonly [string, string, RegExp])[] = [
    ['answers nothing', ':', /no JSON object/],
    ['answers no JSON', `echo 'sorry, ${SECRET}'`, /no JSON object/],
    ['answers a list', 'echo "[1]"', /no JSON object/],
    ['answers without a secret', `echo '{"Username":"u"}'`, /no login in its answer/],
    ['answers numbers', `echo '{"Username":1,"Secret":2}'`, /no login in its answer/],
    ['never stops talking', 'yes', /more than the 65536 bytes/],
    ['fails', 'echo "cannot\\nreach the\tkeychain"; exit 3', /exit code 3: cannot/],
    ['fails with a secret in its answer', `echo '{"Secret":"${SECRET}"}'; exit 1`, /exit code 1$/],
    ['is killed', 'kill -9 $$', /ended by SIGKILL/],
  ]

  it.each(hostile)('%s: one line, without what it said of secrets', async (_, script, reason) => {
    helper('bad', script)
    write(primaryAuthFile(env), { credHelpers: { 'r.test': 'bad' } })
    await expect(find('r.test')).rejects.toMatchObject({
      code: 'REGISTRY_AUTH',
      message: expect.stringMatching(
        new RegExp(`^credential helper docker-credential-bad get: [^\\n]*${reason.source}`),
      ),
    })
    await expect(find('r.test')).rejects.not.toMatchObject({ message: expect.stringContaining('hunter2') })
  })

  it.each(['../../bin/sh', 'a/b', '-x', '', 'a b', 'x'.repeat(101), 'a\nb'])(
    'has a name that is none (%j), and is not called',
    async (name) => {
      write(primaryAuthFile(env), { credHelpers: { 'r.test': name } })
      await expect(find('r.test')).rejects.toMatchObject({
        code: 'REGISTRY_AUTH',
        message: expect.stringMatching(/^credential helper ".*": not a name$/),
      })
    },
  )

  it('is not there', async () => {
    write(primaryAuthFile(env), { credHelpers: { 'r.test': 'gone' } })
    await expect(find('r.test')).rejects.toMatchObject({ message: expect.stringContaining('not on the PATH') })
  })
})

describe('keeping a login', () => {
  const login = { user: 'me', secret: SECRET }

  it('makes a file that only its owner reads, and reads it back', async () => {
    expect(await saveLogin({ env }, 'r.test', login)).toBe(primaryAuthFile(env))
    expect(statSync(primaryAuthFile(env)).mode & 0o777).toBe(0o600)
    expect(await find('r.test')).toMatchObject({ user: 'me', password: SECRET })
    expect(await find('other.test')).toBeUndefined()
  })

  it('leaves all else in the file as it was, and takes the rights of others away', async () => {
    const path = primaryAuthFile(env)
    const before = {
      auths: { 'a.test': { auth: base64('a:1'), email: 'x@y' } },
      HttpHeaders: { X: 'y' },
      psFormat: 'z',
    }
    write(path, before)
    chmodSync(path, 0o644)
    await saveLogin({ env }, 'r.test/team', login)
    const { auths, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as typeof before
    expect(rest).toEqual({ HttpHeaders: { X: 'y' }, psFormat: 'z' })
    expect(auths).toEqual({ ...before.auths, 'r.test/team': { auth: base64(`me:${SECRET}`) } })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await removeLogin({ env }, 'r.test/team')).toBe(true)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(before)
  })

  it('writes through a link to the file, which stays one', async () => {
    const path = primaryAuthFile(env)
    write(join(directory, 'dotfiles/auth.json'), {})
    mkdirSync(join(path, '..'), { recursive: true })
    symlinkSync(join(directory, 'dotfiles/auth.json'), path)
    await saveLogin({ env }, 'r.test', login)
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(readAuthFile(join(directory, 'dotfiles/auth.json'))?.auths.has('r.test')).toBe(true)
  })

  it('loses none of many that come at once', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `r${i}.test`)
    await Promise.all(names.map((name) => saveLogin({ env }, name, login)))
    expect([...(readAuthFile(primaryAuthFile(env))?.auths.keys() ?? [])].toSorted((a, b) => (a < b ? -1 : 1))).toEqual(
      names.toSorted((a, b) => (a < b ? -1 : 1)),
    )
  })

  it('hands it to the helper where the file names one, through a pipe', async () => {
    fileHelper('keep')
    const path = primaryAuthFile(env)
    write(path, { credHelpers: { 'r.test': 'keep' }, credsStore: 'keep' })
    expect(await saveLogin({ env }, 'r.test', login)).toBe('docker-credential-keep')
    await saveLogin({ env }, 'docker.io', login)
    expect(readFileSync(path, 'utf8')).not.toContain(base64(`me:${SECRET}`))
    expect(await find('r.test')).toMatchObject({ user: 'me', password: SECRET })
    expect(await find('docker.io')).toMatchObject({ user: 'me', password: SECRET })
    // Nothing but the action is an argument.
    expect(new Set(readFileSync(join(directory, 'calls-keep'), 'utf8').trim().split('\n'))).toEqual(
      new Set(['store 1', 'get 1']),
    )
    expect(await removeLogin({ env }, 'r.test')).toBe(true)
    expect(await removeLogin({ env }, 'r.test')).toBe(false)
    await removeAllLogins({ env })
    expect(await find('docker.io')).toBeUndefined()
  })

  it('hands it to the helper that registries.conf names first', async () => {
    fileHelper('conf')
    const target = { env, helpers: ['conf', 'containers-auth.json'] }
    expect(await saveLogin(target, 'r.test', login)).toBe('docker-credential-conf')
    expect(existsSync(primaryAuthFile(env))).toBe(false)
    expect(await find('r.test', 'a', target)).toMatchObject({ user: 'me', source: 'docker-credential-conf' })
    expect(await removeLogin(target, 'r.test')).toBe(true)
    await saveLogin(target, 'r.test', login)
    await removeAllLogins(target)
    expect(await find('r.test', 'a', target)).toBeUndefined()
    const path = join(directory, 'mine.json')
    expect(await saveLogin({ ...target, path }, 'r.test', login)).toBe(path)
  })

  it('forgets one, under all the names a registry has had, or all', async () => {
    const path = primaryAuthFile(env)
    write(path, {
      auths: { 'docker.io': {}, 'https://index.docker.io/v1/': {}, 'a.test': {}, 'a.test/b': {} },
      other: 1,
    })
    expect(await removeLogin({ env }, 'docker.io')).toBe(true)
    expect(await removeLogin({ env }, 'docker.io')).toBe(false)
    expect([...(readAuthFile(path)?.auths.keys() ?? [])]).toEqual(['a.test', 'a.test/b'])
    await removeAllLogins({ env })
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ auths: {}, other: 1 })
  })

  it('touches no damaged file, and repeats nothing of it', async () => {
    const path = primaryAuthFile(env)
    mkdirSync(join(path, '..'), { recursive: true })
    for (const text of [`{"auths":{"r.test":{"auth":"${SECRET}"`, '[]', '{"auths":[]}', '{"auths":{"r.test":1}}']) {
      writeFileSync(path, text)
      const failing = saveLogin({ env }, 'r.test', login)
      await expect(failing).rejects.toMatchObject({ code: 'REGISTRY_AUTH', message: expect.stringContaining(path) })
      await expect(failing).rejects.not.toMatchObject({ message: expect.stringContaining('hunter2') })
      expect(readFileSync(path, 'utf8')).toBe(text)
    }
  })

  it('says where it cannot write', async () => {
    writeFileSync(join(directory, 'file'), '')
    await expect(saveLogin({ env, path: join(directory, 'file/auth.json') }, 'r.test', login)).rejects.toMatchObject({
      code: 'REGISTRY_AUTH',
      message: expect.stringMatching(/^write login file .*: E(NOTDIR|EXIST)$/),
    })
    expect(existsSync(join(directory, 'file/auth.json'))).toBe(false)
  })
})
