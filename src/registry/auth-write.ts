import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { syscall, trySyscall } from '../syscall/call.ts'
import { errnoName } from '../syscall/errno.ts'
import { pause } from '../syscall/pause.ts'
import { type AuthFile, keysFor, primaryAuthFile, readAuthFile } from './auth-files.ts'
import { eraseByHelper, type HelperLogin, listHelper, storeByHelper } from './credential-helper.ts'
import { LOGIN_FILES, serverOf } from './credentials.ts'
import type { Environment } from './environment.ts'

export interface AuthTarget {
  readonly env: Environment
  /** `--authfile`; the primary file without it. */
  readonly path?: string
  /** Helpers of registries.conf; without `--authfile` the first of them keeps what is new. */
  readonly helpers?: readonly string[]
}

const LOCK_EX_NB = 2 | 4

/**
 * Keeps a login under a name (`registry` or `registry/path`): in the file, or by the helper the file names. What else is
 * in the file stays. Answers where it is now.
 */
export async function saveLogin(target: AuthTarget, name: string, login: HelperLogin): Promise<string> {
  const [first] = target.path === undefined ? (target.helpers ?? []) : []
  if (first !== undefined && first !== LOGIN_FILES) {
    await storeByHelper(first, name, login, target.env)
    return `docker-credential-${first}`
  }
  return changing(target, async (file, write) => {
    const [key, helper] = helperFor(file, name)
    if (helper !== undefined) {
      await storeByHelper(helper, key, login, target.env)
      // An entry without a secret tells other programs that there is a login.
      if (file.store === helper) write({ ...auths(file), [key]: {} })
      return `docker-credential-${helper}`
    }
    const auth = Buffer.from(`${login.user}:${login.secret}`).toString('base64')
    write({ ...auths(file), [name]: { auth } })
    return file.path
  })
}

/** Forgets the login under a name; answers false where there is none. */
export async function removeLogin(target: AuthTarget, name: string): Promise<boolean> {
  let byHelper = false
  for (const helper of otherHelpers(target)) byHelper = (await eraseByHelper(helper, name, target.env)) || byHelper
  return changing(target, async (file, write) => {
    const [key, helper] = helperFor(file, name)
    const erased = helper === undefined ? false : await eraseByHelper(helper, key, target.env)
    const [registry = '', ...path] = name.split('/')
    // Under all the names it may have, but no shorter path: that is another login.
    const names = path.length === 0 ? keysFor(registry, '') : [name]
    const there = names.filter((candidate) => file.auths.has(candidate))
    if (there.length > 0) {
      write(Object.fromEntries(Object.entries(auths(file)).filter(([candidate]) => !there.includes(candidate))))
    }
    return byHelper || erased || there.length > 0
  })
}

/** Forgets all logins, those of helpers too. */
export async function removeAllLogins(target: AuthTarget): Promise<void> {
  for (const helper of otherHelpers(target)) await eraseAll(helper, target.env)
  await changing(target, async (file, write) => {
    for (const [server, helper] of file.helpers) await eraseByHelper(helper, server, target.env)
    if (file.store !== undefined) await eraseAll(file.store, target.env)
    write({})
  })
}

async function eraseAll(helper: string, env: Environment): Promise<void> {
  for (const server of await listHelper(helper, env)) await eraseByHelper(helper, server, env)
}

function otherHelpers({ path, helpers = [] }: AuthTarget): readonly string[] {
  return path === undefined ? helpers.filter((name) => name !== LOGIN_FILES) : []
}

function helperFor(file: AuthFile, name: string): readonly [key: string, helper: string | undefined] {
  const own = file.helpers.get(name)
  return own === undefined ? [serverOf(name), file.store] : [name, own]
}

function auths(file: AuthFile): Readonly<Record<string, unknown>> {
  return Object.fromEntries(file.auths)
}

/** Reads the file, lets `change` write it anew; whoever else does the same waits. */
async function changing<T>(
  { env, path = primaryAuthFile(env) }: AuthTarget,
  change: (file: AuthFile, write: (auths: Readonly<Record<string, unknown>>) => void) => Promise<T>,
): Promise<T> {
  try {
    fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    // Where the file is a link, its target is what is replaced.
    const real = realPath(path)
    using _lock = await lockDirectory(dirname(real))
    const file = readAuthFile(real) ?? {
      path: real,
      auths: new Map(),
      helpers: new Map(),
      store: undefined,
      document: {},
    }
    return await change({ ...file, path }, (entries) => replace(real, { ...file.document, auths: entries }))
  } catch (error) {
    const errno = errnoOf(error)
    if (error instanceof TscrunError || errno === undefined) throw error
    throw new TscrunError('REGISTRY_AUTH', `write login file ${path}: ${errno}`, {
      subject: path,
      errno,
      hint: 'choose another with --authfile or REGISTRY_AUTH_FILE',
      cause: error,
    })
  }
}

function realPath(path: string): string {
  try {
    return fs.realpathSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return path
    throw error
  }
}

async function lockDirectory(path: string): Promise<Disposable> {
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  try {
    for (let delayMs = 2; ; delayMs = Math.min(delayMs * 2, 50)) {
      const result = trySyscall('flock', [fd, LOCK_EX_NB])
      if (result === 0) break
      if (errnoName(-result) !== 'EAGAIN') syscall('flock', [fd, LOCK_EX_NB], path)
      await pause(delayMs)
    }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
  return { [Symbol.dispose]: () => fs.closeSync(fd) }
}

/** Nobody ever sees half a file, and nobody but its owner any of it. */
function replace(path: string, document: Readonly<Record<string, unknown>>): void {
  const temporary = join(dirname(path), `.${basename(path)}-${randomUUID()}`)
  const fd = fs.openSync(temporary, 'wx', 0o600)
  try {
    fs.fchmodSync(fd, 0o600)
    fs.writeFileSync(fd, `${JSON.stringify(document, undefined, '\t')}\n`)
    fs.fsyncSync(fd)
    fs.renameSync(temporary, path)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  } finally {
    fs.closeSync(fd)
  }
}
