import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { parseMountOptions } from '../../src/rootfs/mount-options.ts'
import { features } from '../../src/spec/features.ts'
import { readConfig } from '../../src/spec/read-config.ts'
import { changed, complaint, FULL } from './spec-full-config.ts'
import { featuresSchema, wordsOf } from './spec-schema.ts'

const document = features({ kernel: { major: 6, minor: 1, release: '6.1.0' } })

/** What a value is made of, all the way down; lists of names are alike. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.every((item) => typeof item === 'string') ? 'names' : 'list'
  if (typeof value !== 'object' || value === null) return typeof value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shape(member)]))
}

describe('the features', () => {
  it("are a document as the specification's schema has it", () => {
    const { linux, ...rest } = document
    // The schema at hand may be older than the words.
    const namespaces = linux.namespaces.filter((type) => type !== 'time')
    const archs = linux.seccomp.archs.filter((name) => !/_(LOONGARCH64|M68K|SH|SHEB)$/.test(name))
    const older = { ...rest, linux: { ...linux, namespaces, seccomp: { ...linux.seccomp, archs } } }
    const complaints = featuresSchema()
    expect(complaints(older)).toEqual([])
    expect(complaints({ ...older, hooks: [1] })).not.toEqual([])
    const bad = { ...older.linux.seccomp, actions: ['SCMP_ACT_NOTHING'] }
    expect(complaints({ ...older, linux: { ...older.linux, seccomp: bad } })).not.toEqual([])
  })

  it('name every word that the schema has', () => {
    const { actions, operators, archs, knownFlags } = document.linux.seccomp
    expect(actions).toEqual(expect.arrayContaining([...wordsOf('SeccompAction')]))
    expect(operators).toEqual(expect.arrayContaining([...wordsOf('SeccompOperators')]))
    expect(archs).toEqual(expect.arrayContaining([...wordsOf('SeccompArch')]))
    expect(knownFlags).toEqual(expect.arrayContaining([...wordsOf('SeccompFlag')]))
    expect(document.linux.namespaces).toEqual(expect.arrayContaining([...wordsOf('NamespaceType')]))
    expect(wordsOf('SeccompFlag')).toContain('SECCOMP_FILTER_FLAG_LOG')
  })

  it("have the form of runc's", () => {
    const { annotations: _annotations, ...theirs } = JSON.parse(
      execFileSync('runc', ['features'], { encoding: 'utf8' }),
    ) as Record<string, unknown>
    expect(shape(document)).toMatchObject(shape(theirs) as object)
  })

  it("name every word that runc's name and that is not for cgroup v1", () => {
    const theirs = JSON.parse(execFileSync('runc', ['features'], { encoding: 'utf8' })) as typeof document
    for (const key of ['actions', 'operators', 'archs'] as const) {
      expect(document.linux.seccomp[key]).toEqual(expect.arrayContaining([...theirs.linux.seccomp[key]]))
    }
    expect(document.hooks).toEqual(theirs.hooks)
    expect(document.linux.capabilities).toEqual(expect.arrayContaining([...theirs.linux.capabilities]))
    expect(document.linux.namespaces).toEqual(expect.arrayContaining([...theirs.linux.namespaces]))
  })

  it('say only of words that the reader takes that they are known', () => {
    const { linux } = document
    for (const version of [document.ociVersionMin, document.ociVersionMax]) {
      expect(complaint('ociVersion', version)).toBe('taken')
    }
    for (const hook of document.hooks) expect(readConfig(JSON.stringify(FULL)).hooks).toHaveProperty(hook)
    for (const name of linux.capabilities) expect(complaint('process.capabilities.bounding[0]', name)).toBe('taken')
    const { defaultErrnoRet: _errno, ...profile } = FULL.linux.seccomp
    const notify = 'SCMP_ACT_NOTIFY'
    for (const action of linux.seccomp.actions) {
      const rule = { names: ['read'], action }
      expect(complaint('linux.seccomp', { ...profile, syscalls: [rule] })).toBe('taken')
      if (action !== notify) expect(complaint('linux.seccomp', { ...profile, defaultAction: action })).toBe('taken')
    }
    for (const op of linux.seccomp.operators)
      expect(complaint('linux.seccomp.syscalls[1].args[0].op', op)).toBe('taken')
    expect(complaint('linux.seccomp.architectures', linux.seccomp.archs)).toBe('taken')
    expect(complaint('linux.seccomp.flags', linux.seccomp.knownFlags)).toBe('taken')
    for (const flag of linux.memoryPolicy.flags) expect(complaint('linux.memoryPolicy.flags', [flag])).toBe('taken')
    for (const mode of linux.memoryPolicy.modes) {
      const policies = [{ mode }, { mode, nodes: '0' }].map((policy) =>
        changed(FULL, ['linux', 'memoryPolicy'], policy),
      )
      expect(policies.some((config) => reads(config))).toBe(true)
    }
    const namespaces = linux.namespaces.map((type) => ({ type }))
    expect(complaint('linux.namespaces', namespaces)).toBe('taken')
  })

  it('name mount options that the parser knows, and none that is for one filesystem', () => {
    const unknown = document.mountOptions.filter((option) => parseMountOptions([option]).data.length > 0)
    // What VFS takes with the filesystem's own options.
    expect(unknown.filter((option) => !/^(a?sync|dirsync|(no)?mand|(no)?lazytime)$/.test(option))).toEqual([])
    expect(document.mountOptions).not.toContain('newinstance')
    expect(document.mountOptions).toEqual(document.mountOptions.toSorted())
    expect(new Set(document.mountOptions).size).toBe(document.mountOptions.length)
    expect(document.mountOptions).toEqual(expect.arrayContaining(['bind', 'rbind', 'ro', 'rslave', 'nosuid', 'idmap']))
  })

  it('have the newest flag of seccomp from the kernel on that has it', () => {
    const flags = (minor: number) => features({ kernel: { major: 5, minor, release: '' } }).linux.seccomp.supportedFlags
    expect(flags(19)).toContain('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')
    expect(flags(18)).not.toContain('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')
    expect(flags(18)).toContain('SECCOMP_FILTER_FLAG_LOG')
  })
})

function reads(config: unknown): boolean {
  try {
    readConfig(JSON.stringify(config))
    return true
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_CONFIG' })
    return false
  }
}
