import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { backgroundOf } from '../kernel/fixtures/detached.ts'
import { expectOneLine, useMachine } from '../kernel/fixtures/machine.ts'
import { type LayerMember, makeImage, pushImages, writeLayout } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

/** Three images that differ in age, size and labels: `app:1`, `app:2` and one without a name. */
const machine = useMachine()
let registry: TestRegistry
beforeAll(async () => {
  registry = await startRegistry()
  await load('old', ['app:1', 'team/other:1'], [{ name: 'a', content: 'a' }], { tier: 'front' })
  await load('new', ['app:2'], [{ name: 'b', content: Buffer.alloc(5000) }], { tier: 'back', owner: 'me' })
  await load('none', [], [{ name: 'c', content: 'ccc' }], {})
})
afterAll(async () => {
  await registry.stop()
})

const { out } = backgroundOf(() => machine)
const ids: Record<string, string> = {}

async function load(
  name: string,
  names: readonly string[],
  layer: readonly LayerMember[],
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const image = await makeImage({ layers: [layer], config: { Labels: labels } })
  const layout = join(machine.directory, name)
  writeLayout(layout, [image])
  await out('load', '-q', '-i', layout)
  ids[name] = image.config.digest.slice(7)
  const current = `docker.io/library/image:latest`
  for (const other of names) await out('tag', image.config.digest, `${registry.host}/${other}`)
  await machine.tscrun(['untag', image.config.digest, current])
}

async function listed(...flags: string[]): Promise<string[]> {
  const text = await out('images', '--format', '{{.Repository}}:{{.Tag}}', ...flags)
  return text
    .replaceAll(`${registry.host}/`, '')
    .trim()
    .split('\n')
    .filter((line) => line !== '')
}

describe('images', () => {
  it.each<[readonly string[], readonly string[]]>([
    [[], ['app:1', 'app:2', 'team/other:1']],
    [['-a'], ['<none>:<none>', 'app:1', 'app:2', 'team/other:1']],
    [['-f', 'dangling=true'], ['<none>:<none>']],
    [
      ['-a', '-f', 'dangling=false'],
      ['app:1', 'app:2', 'team/other:1'],
    ],
    [
      ['-f', 'reference=app'],
      ['app:1', 'app:2'],
    ],
    [['-f', 'reference=a*:2'], ['app:2']],
    [['-f', 'reference=team/*'], ['team/other:1']],
    [
      ['-f', 'reference=other', '-f', 'reference=app:1'],
      ['app:1', 'team/other:1'],
    ],
    [['-f', 'reference=*.nowhere/*'], []],
    [
      ['-f', 'label=tier'],
      ['app:1', 'app:2', 'team/other:1'],
    ],
    [['-f', 'label=tier=back'], ['app:2']],
    [['-f', 'label=tier', '-f', 'label=owner=me'], ['app:2']],
    [
      ['-f', 'label!=owner'],
      ['app:1', 'team/other:1'],
    ],
    [['-f', 'until=1h'], []],
    [
      ['-f', 'until=2027-01-01T00:00:00Z'],
      ['app:1', 'app:2', 'team/other:1'],
    ],
  ])('%j', async (flags, expected) => {
    const far = flags.some((flag) => flag === 'until=1h')
    // All were made at one moment, which is in the past of any clock.
    expect((await listed(...flags)).toSorted()).toEqual(far ? ['app:1', 'app:2', 'team/other:1'] : expected)
  })

  it('compares ages, and knows none of an image that is not there', async () => {
    const image = `${registry.host}/app:1`
    expect(await listed('-f', `before=${image}`)).toEqual([])
    expect(await listed('-f', `since=${image}`)).toEqual([])
    const { exitCode, stderr } = await machine.tscrun(['images', '-f', 'before=nothing:1'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: image nothing:1: not in the store/)
  })

  it('sorts, and leaves headings out', async () => {
    expect(await listed('--sort', 'tag', '-f', 'reference=app')).toEqual(['app:1', 'app:2'])
    expect((await listed('--sort', 'size'))[0]).toBe('app:2')
    expect(await out('images', '-n', '-f', 'reference=app:2')).toMatch(/^\S+\/app +2 +\w{12} +.* +5kB\n$/)
    const { stderr } = await machine.tscrun(['images', '--sort', 'colour'])
    expectOneLine(stderr, /^tscrun: --sort colour: unknown field \(created, id, repository, size, tag\)/)
    expectOneLine((await machine.tscrun(['images', '-f', 'x=1'])).stderr, /^tscrun: --filter x=1: unknown key "x"/)
  })
})

describe('all tags', () => {
  it('of a repository are pushed and pulled at once', async () => {
    const repository = `${registry.host}/app`
    await out('push', '-q', '-a', repository)
    await pushImages(registry.host, 'app:3', [await makeImage({ layers: [[{ name: 'd', content: '' }]] })])
    for (const tag of [1, 2]) await out('untag', `${repository}:${tag}`, `${repository}:${tag}`)
    const pulled = (await out('pull', '-q', '-a', repository)).trim().split('\n')
    expect(pulled.toSorted()).toEqual([1, 2, 3].map((tag) => `${repository}:${tag}`))
    expect(await listed('-f', 'reference=app')).toHaveLength(3)
  })

  it('cannot be asked for together with one tag', async () => {
    for (const verb of ['pull', 'push']) {
      const { exitCode, stderr } = await machine.tscrun([verb, '-a', `${registry.host}/app:1`])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, new RegExp(`^tscrun: ${verb} --all-tags.*: `))
    }
    const { stderr } = await machine.tscrun(['push', '-a', `${registry.host}/nothing`])
    expectOneLine(stderr, /^tscrun: push --all-tags .*: no image of this repository is stored/)
  })
})

it('several images are pulled with one command; one that fails does not keep the others from coming', async () => {
  const names = ['app:1', 'absent:1', 'app:3'].map((name) => `${registry.host}/${name}`)
  const { exitCode, stdout, stderr } = await machine.tscrun(['pull', '-q', ...names])
  expect([exitCode, stdout]).toEqual([125, `${names[0]}\n${names[2]}\n`])
  expectOneLine(stderr, /^tscrun: .*absent/)
})

it('rmi --all removes every image that no container has, --ignore makes nothing of one that is not there', async () => {
  expect(await out('rmi', '-i', 'nothing:1')).toBe('')
  expectOneLine((await machine.tscrun(['rmi'])).stderr, /^tscrun: rmi: the image is missing \(usage: .*rmi --all\)/)
  await out('create', '--name', 'has', `${registry.host}/app:2`, '/b')
  const { exitCode, stderr } = await machine.tscrun(['rmi', '-a'])
  expect(exitCode).toBe(125)
  expectOneLine(stderr, /used by container has/)
  expect(await listed('-a')).toEqual(['app:2'])
  await out('rm', 'has')
  await out('rmi', '-a')
  expect(await listed('-a')).toEqual([])
})
