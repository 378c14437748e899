import { describe, expect, it } from 'vitest'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withDefaults } from '../../src/engine/config/defaults.ts'
import { configPaths, findConfig, type ResolvedSettings } from '../../src/engine/config/file.ts'
import { parseConfig } from '../../src/engine/config/parse.ts'

const read = (text: string, variables: Record<string, string> = {}, more: string[] = []): ResolvedSettings =>
  parseConfig({ files: [text, ...more].map((each, index) => ({ path: `/f${index}`, text: each })), variables })
const failure = (text: string, variables: Record<string, string> = {}): unknown => {
  try {
    return read(text, variables)
  } catch (error) {
    return {
      code: (error as { code: string }).code,
      said: `${(error as Error).message} (${(error as { hint: string }).hint})`,
    }
  }
}

describe('the configuration', () => {
  it('has a type for each key', () => {
    const { settings } = read(`
      root = "/srv/tscrun"
      runroot = "/run/other"
      userns = "host"
      id_pool = "1500000000:131072"
      pull = "never"
      log_driver = "json-file"
      log_max_size = "64m"
      log_max_files = 3
      ulimits = ["nofile=10:20", "core=0", "nproc=-1"]
      capabilities = ["CHOWN", "cap_kill"]
      seccomp_profile = "/etc/profile.json"
      dns = ["192.0.2.1", "192.0.2.2"]
      dns_search = ["example"]
      dns_options = ["ndots:2"]
      hosts = ["name:192.0.2.3"]
      stop_timeout = 3
      detach_keys = "ctrl-x"
    `)
    expect(settings).toEqual({
      root: '/srv/tscrun',
      runRoot: '/run/other',
      userns: 'host',
      idPool: { first: 1_500_000_000, size: 131_072 },
      pull: 'never',
      log: { driver: 'json-file', maxSize: 64 * 2 ** 20, maxFiles: 3 },
      ulimits: [
        { name: 'nofile', soft: 10, hard: 20 },
        { name: 'core', soft: 0, hard: 0 },
        { name: 'nproc', soft: -1, hard: -1 },
      ],
      capabilities: ['CHOWN', 'cap_kill'],
      seccompProfile: '/etc/profile.json',
      dns: ['192.0.2.1', '192.0.2.2'],
      dnsSearch: ['example'],
      dnsOptions: ['ndots:2'],
      hosts: ['name:192.0.2.3'],
      stopTimeoutMs: 3000,
      detachKeys: 'ctrl-x',
    })
  })

  it('of the environment wins over that of the user, which wins over that of the host', () => {
    const variables = { TSCRUN_PULL: 'never', TSCRUN_LOG_MAX_FILES: '5', TSCRUN_DNS: '192.0.2.1,192.0.2.2' }
    const { settings, sources } = read('pull = "always"\nroot = "/a"\nstop_timeout = 1', variables, ['root = "/b"'])
    expect(settings).toEqual({
      pull: 'never',
      log: { maxFiles: 5 },
      dns: ['192.0.2.1', '192.0.2.2'],
      root: '/b',
      stopTimeoutMs: 1000,
    })
    expect(Object.fromEntries([...sources].map(([key, { from }]) => [key, from]))).toEqual({
      pull: 'TSCRUN_PULL',
      log_max_files: 'TSCRUN_LOG_MAX_FILES',
      dns: 'TSCRUN_DNS',
      root: '/f1',
      stop_timeout: '/f0',
    })
  })

  it.each([
    ['# x\n\nlog_drvier = "none"', '/f0:3: log_drvier: unknown key (did you mean log_driver?)'],
    ['[containers]\npull = "never"', '/f0:1: containers: unknown key (docs/configuration.md lists them)'],
    ['\n  "root" = 3', '/f0:2: root: not an absolute path (in quotes)'],
    ['root = "relative"', '/f0:1: root: not an absolute path (in quotes)'],
    ['pull = "sometimes"', '/f0:1: pull: not one of missing, always, never, newer (undefined)'],
    ['dns = "192.0.2.1"', '/f0:1: dns: not a list of texts (e.g. dns = ["..."])'],
    ['dns = [1]', '/f0:1: dns: not a list of texts (e.g. dns = ["..."])'],
    ['log_max_size = "many"', '/f0:1: log_max_size: not a size (a number of bytes, or e.g. "64m")'],
    ['log_max_files = 0', '/f0:1: log_max_files: not a whole number from 1 to 1000 (undefined)'],
    ['log_max_files = 1.5', '/f0:1: log_max_files: not a whole number from 1 to 1000 (undefined)'],
    ['stop_timeout = "1"', '/f0:1: stop_timeout: not a whole number from 0 to 2147483 (undefined)'],
    ['detach_keys = 1979-05-27', '/f0:1: detach_keys: not a text (in quotes)'],
    ['id_pool = "0:65536"', /id_pool: "0:65536" is not right \(FIRST:SIZE/],
    ['id_pool = "100:65535"', /id_pool: "100:65535" is not right/],
    ['ulimits = ["nofile=2:1"]', /ulimits: "nofile=2:1" is not right \(NAME=SOFT/],
    ['capabilities = ["A B"]', /capabilities: "A B" is not right/],
    ['hosts = ["name"]', /hosts: "name" is not right \(NAME:ADDRESS\)/],
    ['a = [', /^\/f0:\d: .* \(toml\.io describes the format\)$/],
  ])('%j is an error that says where and what', (text, message) => {
    expect(failure(text)).toEqual({
      code: 'INVALID_CONFIG',
      said: typeof message === 'string' ? message : expect.stringMatching(message),
    })
  })

  it('of the environment is checked alike', () => {
    expect(failure('', { TSCRUN_LOG_MAX_FILES: 'many' })).toMatchObject({
      said: expect.stringContaining('TSCRUN_LOG_MAX_FILES: log_max_files: not a whole number'),
    })
  })

  it('is looked for in the usual places, or where TSCRUN_CONFIG says', () => {
    expect(configPaths({})).toEqual(['/etc/tscrun/config.toml'])
    expect(configPaths({ XDG_CONFIG_HOME: '/x' })).toEqual(['/etc/tscrun/config.toml', '/x/tscrun/config.toml'])
    expect(configPaths({ XDG_CONFIG_HOME: 'relative' })[0]).toBe('/etc/tscrun/config.toml')
    expect(configPaths({ XDG_CONFIG_HOME: '/x', TSCRUN_CONFIG: '/only' })).toEqual(['/only'])
    expect(configPaths({ TSCRUN_CONFIG: '' })).toEqual([])
  })

  it('that is named must be there; without one, and without a variable, there is none', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tscrun-config-'))
    try {
      const file = join(directory, 'config.toml')
      expect(() => findConfig({ TSCRUN_CONFIG: file })).toThrow(/ENOENT/)
      writeFileSync(file, 'pull = "never"')
      expect(findConfig({ TSCRUN_CONFIG: file })?.files).toEqual([{ path: file, text: 'pull = "never"' }])
      expect(findConfig({ TSCRUN_CONFIG: '', TSCRUN_NODE: '/bin/node', PATH: '/bin' })).toBeUndefined()
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

describe('settings and options', () => {
  const { settings } = read(`
    userns = "host"
    pull = "never"
    log_max_files = 3
    ulimits = ["nofile=1", "core=2"]
    seccomp_profile = "/p"
    dns = ["192.0.2.1"]
    hosts = ["a:192.0.2.2"]
  `)

  it('settings stand where options say nothing', () => {
    expect(withDefaults({}, settings)).toEqual({
      namespaces: { user: 'host' },
      pull: 'never',
      log: { maxFiles: 3 },
      ulimits: [
        { name: 'nofile', soft: 1, hard: 1 },
        { name: 'core', soft: 2, hard: 2 },
      ],
      security: { seccomp: '/p' },
      dns: ['192.0.2.1'],
      addHost: ['a:192.0.2.2'],
    })
  })

  it('options stand above them, one by one', () => {
    const asked = {
      namespaces: { user: 'auto' as const, pid: 'host' as const },
      pull: 'always' as const,
      log: { driver: 'none' as const },
      ulimits: [{ name: 'core', soft: 7, hard: 7 }],
      security: { noNewPrivileges: true, seccomp: 'unconfined' },
      dns: [],
      addHost: ['b:192.0.2.3'],
    }
    expect(withDefaults(asked, settings)).toEqual({
      ...asked,
      log: { driver: 'none', maxFiles: 3 },
      ulimits: [{ name: 'nofile', soft: 1, hard: 1 }, ...asked.ulimits],
      addHost: ['a:192.0.2.2', 'b:192.0.2.3'],
    })
  })

  it('leave out what is the business of a container that is joined, or of --privileged', () => {
    const joins = { network: { container: 'web' } }
    expect(withDefaults(joins, settings)).toEqual(
      expect.not.objectContaining({
        dns: expect.anything(),
        addHost: expect.anything(),
        namespaces: expect.anything(),
      }),
    )
    expect(withDefaults({ privileged: true }, settings)).toEqual(
      expect.not.objectContaining({ namespaces: expect.anything(), security: expect.anything() }),
    )
  })
})
