import { describe, expect, it } from 'vitest'
import { containerOf } from '../../src/engine/container.ts'
import type { EngineCore } from '../../src/engine/engine.ts'
import { createEngine, type Engine, TscrunError, waitFor } from '../../src/index.ts'

/** As a program in JavaScript calls it. */
type Loose = Readonly<Record<string, (...given: unknown[]) => Promise<unknown>>>

const places = { root: '/proc/nowhere/store', runRoot: '/proc/nowhere/run' }
const engine = createEngine(places)
const of = (verbs: object): Loose => verbs as Loose

async function refused(action: () => Promise<unknown> | AsyncIterable<unknown>): Promise<string> {
  try {
    const answer = action()
    if (Symbol.asyncIterator in answer) for await (const _one of answer) break
    else await answer
  } catch (error) {
    if (!(error instanceof TscrunError) || error.code !== 'USAGE') throw error
    return error.message
  }
  return 'nothing'
}

describe('a verb of the library that is called with what it does not take rejects, and says what', () => {
  it.each<[keyof Engine, readonly unknown[], string]>([
    ['get', [5], 'container: 5 is not a string'],
    ['get', [], 'container: it is missing'],
    ['get', ['a\0'], 'container: it has a NUL byte'],
    ['pull', [5], 'reference: 5 is not a string'],
    ['pull', ['a', { tlsVerify: 0 }], 'option tlsVerify: 0 is not true or false'],
    ['push', ['a', 5], 'destination: 5 is not a string'],
    ['push', ['a', 'b', null], 'options: null is not an object'],
    ['push', ['a', 'b', { packing: 'zstd' }], 'option packing: "zstd" is not an object'],
    ['copy', ['docker://a', 'oci:/b'], 'options: it is missing'],
    ['copy', ['docker://a', 'oci:/b', { source: {} }], 'option target: it is missing'],
    ['removeImage', ['a', { force: 'yes' }], 'option force: "yes" is not true or false'],
    ['remove', ['a'], 'options: it is missing'],
    ['ps', [{ all: true, filter: { name: 'a' } }], 'option filter.name: "a" is not a list'],
    ['list', [null], 'options: null is not an object'],
    ['inspect', ['a', 'network'], 'type: "network" is not container, image or volume'],
    ['createVolume', [{ name: 5 }], 'option name: 5 is not a string'],
    ['createVolume', [{ label: {} }], 'option label: there is none of this name'],
    ['volumes', [{ name: 'a' }], 'filter.name: "a" is not a list'],
    ['removeVolume', [['a']], 'name: a list is not a string'],
    ['pruneVolumes', [{ filter: { label: 'a' } }], 'option filter.label: "a" is not a list'],
    ['createNetwork', [], 'options: it is missing'],
    ['createNetwork', [{ name: 'a', subnets: '10.0.0.0/24' }], 'option subnets: "10.0.0.0/24" is not a list'],
    ['events', [null], 'options: null is not an object'],
    ['events', [{ filter: { container: 'a' } }], 'option filter.container: "a" is not a list'],
    ['stats', ['a'], 'names: "a" is not a list'],
    ['run', ['a', [], null], 'options: null is not an object'],
    ['run', ['a', [], { rootfs: { path: '/' } }], 'image: "a" and the option rootfs: a container has only one of them'],
    ['start', ['', [], { rootfs: { path: '/' } }], 'image: "" and the option rootfs: a container has only one of them'],
    [
      'dryRun',
      ['a', [], { rootfs: { path: '/' } }],
      'image: "a" and the option rootfs: a container has only one of them',
    ],
  ])('%s(...%j)', async (verb, given, words) => {
    expect(await refused(() => of(engine)[verb]!(...given))).toBe(words)
  })

  it('also of what an engine hands out', async () => {
    const [networks, system, cni] = [of(await engine.networks()), of(await engine.system()), of(await engine.cni())]
    expect(await refused(() => networks['connect']!('a'))).toBe('options: it is missing')
    expect(await refused(() => networks['prune']!('a'))).toBe('filter: "a" is not an object')
    expect(await refused(() => system['pruneContainers']!({ label: 'a' }))).toBe('filter.label: "a" is not a list')
    expect(await refused(() => system['reset']!())).toBe('options: it is missing')
    expect(await refused(() => cni['add']!({ network: 'a', id: 5 }))).toBe('option id: 5 is not a string')
  })

  it.each<[string, readonly unknown[], string]>([
    ['rename', [5], 'name: 5 is not a string'],
    ['stop', [5], 'options: 5 is not an object'],
    ['stop', [{ timeout: 5 }], 'option timeout: there is none of this name'],
    ['kill', [{}], 'signal: an object is not the name or the number of a signal'],
    ['update', [{ memory: '1g' }], 'option memory: "1g" is not a number'],
    ['wait', [{ signal: 'SIGTERM' }], 'option signal: "SIGTERM" is not an AbortSignal'],
    ['port', ['80'], 'port: "80" is not a number'],
    ['top', ['pid'], 'words: "pid" is not a list'],
    ['copyIn', [5, '/a'], 'source: 5 is not a path or an iterable of bytes'],
    ['copyIn', ['a'], 'path: it is missing'],
    ['copyOut', [5, 'a'], 'path: 5 is not a string'],
    ['copyOut', [5], 'path: 5 is not a string'],
    ['logs', [{ tail: '5' }], 'option tail: "5" is not a number'],
    ['exec', [['id'], null], 'options: null is not an object'],
  ])('of a container: %s(...%j)', async (verb, given, words) => {
    const container = containerOf({} as EngineCore, 'a'.repeat(64), 'web')
    expect(await refused(() => of(container)[verb]!(...given))).toBe(words)
    expect(container.name).toBe('web')
  })

  it('also waitFor, whose container may be a promise', async () => {
    const verbs = of(waitFor)
    expect(await refused(() => verbs['log']!(Promise.resolve(), 'up'))).toBe('container: an object is not a Container')
    const container = containerOf({} as EngineCore, 'a'.repeat(64), 'web')
    expect(await refused(() => verbs['exit']!(container, { timeout: 5 }))).toMatch(/^option timeout: there is none/)
  })
})
