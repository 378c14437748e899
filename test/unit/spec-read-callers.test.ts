import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/spec/default-config.ts'
import { readConfig } from '../../src/spec/read-config.ts'

const FIXTURES = fileURLToPath(new URL('fixtures/configs', import.meta.url))
const bundle = mkdtempSync(join(tmpdir(), 'tscrun-spec-'))
afterAll(() => rmSync(bundle, { recursive: true }))

/** What the real program writes for a new bundle. */
function specOf(runtime: string, ...flags: string[]): string {
  const file = join(bundle, 'config.json')
  rmSync(file, { force: true })
  execFileSync(runtime, ['spec', ...flags], { cwd: bundle })
  return readFileSync(file, 'utf8')
}

describe('the reader takes', () => {
  it.each(['runc', 'crun'])('what %s writes for a new bundle', (runtime) => {
    const config = readConfig(specOf(runtime))
    expect(config.process).toMatchObject({ terminal: true, args: ['sh'], cwd: '/', noNewPrivileges: true })
    expect(config.linux?.namespaces?.map(({ type }) => type)).toEqual(expect.arrayContaining(['pid', 'mount', 'uts']))
    expect(config.mounts?.map(({ destination }) => destination)).toContain('/dev/pts')
  })

  it.each(['runc', 'crun'])('what %s writes for a new bundle without root', (runtime) => {
    const config = readConfig(specOf(runtime, '--rootless'))
    expect(config.linux?.namespaces).toContainEqual({ type: 'user' })
  })

  // Recorded with Debian 12's docker.io, containerd and podman and a runtime that keeps its config.json.
  it.each(readdirSync(FIXTURES))('what engines write: %s', (name) => {
    const text = readFileSync(join(FIXTURES, name), 'utf8')
    const config = readConfig(text)
    // Nothing that the document has is lost, but what is the same when left out.
    expect(reduced(config)).toEqual(reduced(JSON.parse(text)))
  })

  it('limits that are no limits', () => {
    const config = readConfig(readFileSync(join(FIXTURES, 'podman-many.json'), 'utf8'))
    expect(config.process?.rlimits).toContainEqual({ type: 'RLIMIT_CORE', soft: -1, hard: -1 })
  })
})

/** Without empty parts; and infinity, which no JSON.parse can read, as the reader writes it. */
function reduced(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reduced)
  if (value === 2 ** 64) return -1
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([key, member]) => {
    // Older engines write the kind of file into the mode.
    return [key, key === 'fileMode' ? Number(member) & 0o7777 : reduced(member)] as const
  })
  return Object.fromEntries(members.filter(([, member]) => member !== '' && member !== null))
}

describe('the configuration to begin with', () => {
  it.each([undefined, { uid: 1000, gid: 100 }])('is one that the reader takes unchanged (rootless: %j)', (rootless) => {
    const config = defaultConfig(rootless === undefined ? {} : { rootless })
    expect(readConfig(JSON.stringify(config))).toEqual(config)
  })

  it("has what runc's has, and no ambient capabilities", () => {
    const theirs = readConfig(specOf('runc'))
    const ours = defaultConfig()
    const { ambient, ...sets } = theirs.process?.capabilities ?? {}
    expect(ours.process).toEqual({ ...theirs.process, capabilities: { ...sets, inheritable: undefined } })
    expect(ambient).not.toEqual([])
    expect(ours.mounts).toEqual(theirs.mounts)
    expect(ours.root).toEqual(theirs.root)
    expect(ours.linux?.resources).toEqual(theirs.linux?.resources)
    expect(ours.linux?.maskedPaths).toEqual(expect.arrayContaining([...(theirs.linux?.maskedPaths ?? [])]))
    expect(ours.linux?.readonlyPaths).toEqual(theirs.linux?.readonlyPaths)
    const types = (config: typeof ours) => config.linux?.namespaces?.map(({ type }) => type)
    expect(types(ours)).toEqual(expect.arrayContaining([...(types(theirs) ?? [])]))
  })

  it('without root is as runc has it', () => {
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
    const theirs = readConfig(specOf('runc', '--rootless'))
    const ours = defaultConfig({ rootless: { uid, gid } })
    for (const key of ['uidMappings', 'gidMappings'] as const) expect(ours.linux?.[key]).toEqual(theirs.linux?.[key])
    expect(ours.mounts?.map(({ destination }) => destination)).toEqual(
      expect.arrayContaining([...(theirs.mounts?.map(({ destination }) => destination) ?? [])]),
    )
    expect(ours.linux?.namespaces).not.toContainEqual({ type: 'network' })
    expect(ours.linux?.resources).toBeUndefined()
  })
})
