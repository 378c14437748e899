import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { readConfig, readProcess, readResources } from '../../src/spec/read-config.ts'
import { changed, complaint, FULL, keys, messageOf, withValue } from './spec-full-config.ts'

describe('a configuration', () => {
  it('with every member there is comes back as it was', () => {
    expect(readConfig(JSON.stringify(FULL))).toEqual(FULL)
  })

  it('needs no more than a version and a root', () => {
    const least = { ociVersion: '1.0.0', root: { path: 'rootfs' } }
    expect(readConfig(JSON.stringify(least))).toEqual(least)
  })

  it('may have members nobody knows, and sections for other systems', () => {
    const text = JSON.stringify({ ...FULL, foo: 1, windows: { layerFolders: 7 }, vm: [], zos: null })
    expect(readConfig(text)).toEqual(FULL)
    expect(readConfig(withValue('process.user.username', 7))).toEqual(FULL)
  })

  it('may have null for what it does not set', () => {
    for (const path of ['hooks', 'mounts', 'process.env', 'linux.resources.cpu.burst', 'linux.seccomp']) {
      expect(readConfig(withValue(path, null))).toEqual(readConfig(withValue(path, undefined)))
    }
  })

  it('is a document of its own: nothing of it can reach an object’s prototype', () => {
    const text = JSON.stringify(FULL).replace('"org.example.key"', '"__proto__"')
    expect(Object.entries(readConfig(text).annotations ?? {})).toEqual([['__proto__', 'value']])
    expect(readConfig(JSON.stringify(FULL).replace('"hostname"', '"__proto__"')).hostname).toBeUndefined()
  })

  it.each([
    ['process.user', undefined, { user: { uid: 0, gid: 0 } }],
    ['process.user.uid', undefined, { user: { uid: 0, gid: 100 } }],
  ])('without %s is one for root', (path, value, expected) => {
    expect(readConfig(withValue(path, value)).process).toMatchObject(expected)
  })

  it('with a relative destination of a mount means one below the root', () => {
    expect(readConfig(withValue('mounts[0].destination', 'proc')).mounts?.[0]?.destination).toBe('/proc')
  })

  it('has a size of the console only with a terminal', () => {
    expect(readConfig(withValue('process.terminal', false)).process).not.toHaveProperty('consoleSize')
  })

  it('may give -1 for any number of a device', () => {
    const rules = readConfig(withValue('linux.resources.devices[1].minor', -1)).linux?.resources?.devices
    expect(rules?.[1]).toEqual({ allow: true, type: 'c', major: 10, access: 'rw' })
  })

  it('may have a timeout that no clock will reach', () => {
    const text = withValue('hooks.poststop[0].timeout', 1).replace('"timeout":1}', '"timeout":9223372036854775807}')
    expect(readConfig(text).hooks?.poststop?.[0]?.timeout).toBe(2 ** 31 - 1)
  })
})

describe('what is wrong is named by its path:', () => {
  it.each<[path: string, value: unknown, message: string]>([
    ['ociVersion', undefined, 'ociVersion: missing'],
    ['ociVersion', '1.0', 'ociVersion: 1.0 is not a version such as 1.2.0'],
    ['ociVersion', '0.1.0', 'ociVersion: 0.1.0 is not supported, only 1.x is'],
    ['ociVersion', '2.0.0-rc.1', 'ociVersion: 2.0.0-rc.1 is not supported, only 1.x is'],
    ['root', undefined, 'root: missing'],
    ['root.path', '', 'root.path: empty'],
    ['root.readonly', 'yes', 'root.readonly: true or false is expected, not a text'],
    ['hostname', 'x'.repeat(65), 'hostname: 65 bytes, the kernel takes 64'],
    ['hooks.poststop[1].path', 'other', 'hooks.poststop[1].path: other is not an absolute path'],
    ['hooks.prestart[0].timeout', 0, 'hooks.prestart[0].timeout: 0 is not a whole number of seconds, 1 or more'],
    ['hooks.prestart[0].env[0]', 'KEY', 'hooks.prestart[0].env[0]: not NAME=value'],
    ['hooks.prestart', {}, 'hooks.prestart: a list is expected, not an object'],
    ['mounts[1].destination', '', 'mounts[1].destination: empty'],
    ['mounts[1].source', undefined, 'mounts[1].source: missing, and this is a bind mount'],
    ['mounts[1].gidMappings', undefined, 'mounts[1].gidMappings: missing beside uidMappings'],
    ['mounts[1].uidMappings', [], 'mounts[1].uidMappings: missing beside gidMappings'],
    ['mounts[0].options[1]', 'a\0b', 'mounts[0].options[1]: a NUL character in the text'],
    ['annotations["org.example.key"]', 7, 'annotations["org.example.key"]: a text is expected, not the number 7'],
    ['annotations[""]', '', 'annotations: an empty name'],
  ])('%s = %j', (path, value, message) => {
    expect(complaint(path, value)).toBe(`config.json: ${message}`)
  })
})

describe('in process', () => {
  it.each<[path: string, value: unknown, message: string]>([
    ['args', undefined, 'args: missing'],
    ['args', [], 'args: empty: it names no program'],
    ['args[1]', 7, 'args[1]: a text is expected, not the number 7'],
    ['args[1]', '\ud800', 'args[1]: half of a surrogate pair in the text'],
    ['cwd', 'home', 'cwd: home is not an absolute path'],
    ['cwd', '', 'cwd: empty'],
    ['env[1]', 'SECRET', 'env[1]: not NAME=value'],
    ['env[1]', '=x', 'env[1]: not NAME=value'],
    ['env[1]', 'A=\0', 'env[1]: a NUL character in the text'],
    ['consoleSize.width', 65_536, 'consoleSize.width: 65536 is not a whole number from 0 to 65535'],
    ['consoleSize.height', undefined, 'consoleSize.height: missing'],
    ['user.uid', -1, 'user.uid: -1 is not a whole number from 0 to 4294967294'],
    ['user.gid', 2 ** 32 - 1, 'user.gid: 4294967295 is not a whole number from 0 to 4294967294'],
    ['user.umask', 0o1000, 'user.umask: 512 is not a whole number from 0 to 511'],
    ['user.additionalGids[1]', 1.5, 'user.additionalGids[1]: 1.5 is not a whole number'],
    ['capabilities.bounding[1]', 'CAP_FOO', 'capabilities.bounding[1]: unknown capability CAP_FOO'],
    [
      'capabilities.ambient[0]',
      'CAP_KILLL',
      'capabilities.ambient[0]: unknown capability CAP_KILLL (did you mean CAP_KILL)',
    ],
    ['capabilities.effective[0]', 'KILL', 'capabilities.effective[0]: unknown capability KILL'],
    [
      'rlimits[0].type',
      'RLIMIT_NOFILES',
      'rlimits[0].type: unknown resource limit RLIMIT_NOFILES (did you mean RLIMIT_NOFILE)',
    ],
    ['rlimits[1].type', 'RLIMIT_NOFILE', 'rlimits[1]: the resource limit RLIMIT_NOFILE is there twice'],
    ['rlimits[0].soft', 4096, 'rlimits[0].soft: 4096 is above the hard limit 2048'],
    ['rlimits[0].soft', -1, 'rlimits[0].soft: -1 is not a whole number from 0 to 2^64-1'],
    ['rlimits[0].hard', undefined, 'rlimits[0].hard: missing'],
    ['oomScoreAdj', 1001, 'oomScoreAdj: 1001 is not a whole number from -1000 to 1000'],
    [
      'scheduler.policy',
      'SCHED_BACH',
      'scheduler.policy: unknown scheduling policy SCHED_BACH (did you mean SCHED_BATCH)',
    ],
    ['scheduler.policy', 'SCHED_FIFO', 'scheduler.priority: SCHED_FIFO needs one from 1 to 99'],
    ['scheduler.policy', 'SCHED_BATCH', 'scheduler.runtime: SCHED_BATCH has none, only SCHED_DEADLINE'],
    ['scheduler.priority', 1, 'scheduler.priority: SCHED_DEADLINE has none'],
    ['scheduler.deadline', 5, 'scheduler.deadline: 5 is below the runtime 1000000'],
    ['scheduler.nice', 20, 'scheduler.nice: 20 is not a whole number from -20 to 19'],
    ['ioPriority.priority', 8, 'ioPriority.priority: 8 is not a whole number from 0 to 7'],
    ['execCPUAffinity.initial', '3-1', 'execCPUAffinity.initial: 3-1 is not a list of numbers (such as 0-3,7)'],
  ])('%s = %j', (path, value, message) => {
    expect(complaint(`process.${path}`, value)).toBe(`config.json: process.${message}`)
    const alone = JSON.stringify(changed(FULL.process, keys(path), value))
    expect(messageOf(() => readProcess(alone, 'exec.json'))).toBe(`exec.json: ${message}`)
  })

  it('every capability has a name that is taken', () => {
    for (const name of CAPABILITIES) expect(complaint('process.capabilities.bounding[0]', name)).toBe('taken')
  })

  it('SCHED_ISO is known, and in no kernel', () => {
    expect(complaint('process.scheduler.policy', 'SCHED_ISO')).toMatch(
      /^config.json: process.scheduler.policy: .*no kernel/,
    )
  })

  it('a process of its own needs a directory and arguments', () => {
    const process = { cwd: '/', args: ['true'] }
    expect(readProcess(JSON.stringify(process))).toEqual({ ...process, user: { uid: 0, gid: 0 } })
  })
})

describe('limits alone', () => {
  it('may be any part', () => {
    expect(readResources('{"memory": {"swap": 100}, "cpu": {"burst": 5}}')).toEqual({
      memory: { swap: 100 },
      cpu: { burst: 5 },
    })
    expect(readResources('{}')).toEqual({})
  })

  it('have paths of their own', () => {
    expect(messageOf(() => readResources('{"memory": {"limit": "1g"}}', '--resources'))).toBe(
      '--resources: memory.limit: a whole number is expected, not a text',
    )
  })
})

describe('docs/oci-runtime.md', () => {
  const page = readFileSync(new URL('../../docs/oci-runtime.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `([^`]+)` is `([^`]+)` \| `([^`]+)` \|$/gm)]

  it('has examples', () => {
    expect(rows.length).toBeGreaterThan(5)
  })

  it.each(rows.map(([, path = '', value = '', message = '']) => [path, value, message]))(
    'says what the reader says of %s = %s',
    (path, value, message) => {
      expect(complaint(path, JSON.parse(value))).toBe(message)
    },
  )
})
