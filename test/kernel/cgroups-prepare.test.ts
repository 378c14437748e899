import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { prepareCgroupParent } from '../../src/cgroups/prepare.ts'
import type { CgroupFacts } from '../../src/model/facts.ts'
import { handDown, NOBODY_DIVIDES } from './fixtures/cgroups.ts'

const ROOT = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.controllers')))
const words = (file: string) =>
  readFileSync(file, 'utf8')
    .split(/\s+/)
    .filter((word) => word !== '')

describe("the parent of all containers' cgroups", () => {
  let mountpoint: string
  let controller: string
  const children: ChildProcess[] = []

  /** A cgroup below the real root is what the root of a cgroup namespace is: it has the "no internal processes" rule. */
  beforeEach(({ skip }) => {
    const root = ROOT ?? expect.fail('no cgroup v2 hierarchy')
    mountpoint = join(root, `tscrun-test-prepare-${process.pid}`)
    mkdirSync(mountpoint)
    controller = handDown(mountpoint) ?? skip(NOBODY_DIVIDES)
  })

  afterEach(async () => {
    for (const child of children.splice(0)) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    for (const name of readdirSync(mountpoint, { withFileTypes: true })) {
      if (name.isDirectory()) rmdirSync(join(mountpoint, name.name))
    }
    rmdirSync(mountpoint)
  })

  const facts = (more: Partial<CgroupFacts> = {}): CgroupFacts => ({
    mode: 'unified',
    mountpoint,
    readonly: false,
    own: '/',
    controllers: [controller],
    v1Controllers: [],
    ...more,
  })

  function processInside(): string {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    children.push(child)
    writeFileSync(join(mountpoint, 'cgroup.procs'), String(child.pid))
    return String(child.pid)
  }

  it('is made with its controllers handed down', () => {
    const path = prepareCgroupParent(facts(), [controller])
    expect(path).toBe(join(mountpoint, 'tscrun'))
    expect(words(join(path, 'cgroup.subtree_control'))).toEqual([controller])
    expect(existsSync(join(mountpoint, 'init'))).toBe(false)
  })

  it('is left alone when it is there', () => {
    const path = prepareCgroupParent(facts(), [controller])
    const { ino, ctimeMs } = statSync(path)
    expect(prepareCgroupParent(facts(), [controller])).toBe(path)
    // Nothing is written once all is there, so that a read-only view of it will do.
    expect(prepareCgroupParent(facts({ readonly: true }), [controller])).toBe(path)
    expect(statSync(path)).toMatchObject({ ino, ctimeMs })
  })

  it('needs no controller to exist', () => {
    const pid = processInside()
    expect(statSync(prepareCgroupParent(facts(), [])).isDirectory()).toBe(true)
    expect(words(join(mountpoint, 'cgroup.procs'))).toContain(pid)
  })

  it('gets its controllers although processes stand in the way: they are moved one level down', () => {
    const pids = [processInside(), processInside()]
    const path = prepareCgroupParent(facts(), [controller])
    expect(words(join(path, 'cgroup.subtree_control'))).toEqual([controller])
    expect(words(join(mountpoint, 'init', 'cgroup.procs')).toSorted()).toEqual(pids.toSorted())
    expect(words(join(mountpoint, 'cgroup.procs'))).toEqual([])
  })

  it('cannot have a controller that is not there', () => {
    const attempt = () => prepareCgroupParent(facts(), ['nosuch'])
    expect(attempt).toThrow(expect.objectContaining({ code: 'CONTROLLER_UNAVAILABLE', subject: 'nosuch' }))
  })

  it('cannot be made read-only or without cgroup v2', () => {
    expect(() => prepareCgroupParent(facts({ readonly: true }), [])).toThrow(
      expect.objectContaining({ errno: 'EROFS' }),
    )
    const none: CgroupFacts = { mode: 'v1', readonly: false, own: '/', controllers: [], v1Controllers: ['memory'] }
    expect(() => prepareCgroupParent(none, [])).toThrow('no cgroup v2 hierarchy is mounted')
  })
})
