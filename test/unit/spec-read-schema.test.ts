import * as fc from 'fast-check'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import { defaultConfig } from '../../src/spec/default-config.ts'
import { readConfig } from '../../src/spec/read-config.ts'
import { changed, FULL, keys } from './spec-full-config.ts'
import { schemaOf } from './spec-schema.ts'

const against = schemaOf('config-schema.json')

const FIXTURES = fileURLToPath(new URL('fixtures/configs', import.meta.url))
const RECORDED = readdirSync(FIXTURES).map((name): unknown => JSON.parse(readFileSync(join(FIXTURES, name), 'utf8')))
const VALID: readonly unknown[] = [FULL, FULL, FULL, defaultConfig(), ...RECORDED]

type Path = readonly (string | number)[]
type Members = Record<string, unknown>

/** Every place in a document, itself not counted. */
function places(value: unknown, path: Path = []): Path[] {
  const members = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return members.flatMap(([key, member]) => {
    const place = [...path, Array.isArray(value) ? Number(key) : key]
    return [place, ...places(member, place)]
  })
}

const scalar = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    '',
    'x',
    '/x',
    'a=b',
    'x\0',
    '\ud800',
    'SCMP_ACT_ALLOW',
    'user',
    'RLIMIT_CPU',
    'MB:',
  ),
  fc.constantFrom(0, 1, -1, 0.5, 513, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, -(2 ** 63), 1e300),
  fc.string({ unit: 'binary' }),
)
const wrong = fc.oneof(
  { weight: 5, arbitrary: scalar },
  fc.array(scalar, { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('path', 'type', 'x', '__proto__', ''), scalar, { maxKeys: 2 }),
  fc.constant(undefined),
)

/** A valid document with one to three places changed or gone. */
const mutated: fc.Arbitrary<unknown> = fc.constantFrom(...VALID).chain((valid) =>
  fc
    .array(fc.record({ place: fc.constantFrom(...places(valid)), value: wrong }), { minLength: 1, maxLength: 3 })
    .map((changes) =>
      changes.reduce<unknown>((document, { place, value }) => {
        return has(document, place) ? changed(document, place, value) : document
      }, valid),
    ),
)

function has(document: unknown, path: Path): boolean {
  let node = document
  for (const key of path) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) return false
    node = (node as Members)[key]
  }
  return true
}

/**
 * The document as the schema would have to see it: what the reader takes on purpose although the schema does not.
 * Each is taken by runc and crun too, or in a later version of the schema.
 */
function forgiven(document: unknown): unknown {
  const [config] = withoutNull(document)
  if (typeof config !== 'object' || config === null) return config
  const { windows: _w, solaris: _s, vm: _vm, zos: _z, freebsd: _f, ...ours } = config as Members
  if (isObject(ours['process'])) {
    const { commandLine: _c, ...process } = ours['process']
    if (isObject(process['user'])) delete process['user']['username']
    ours['process'] = process
  }
  if (isObject(ours['linux'])) ours['linux'] = forgivenLinux(ours['linux'])
  return ours
}

function forgivenLinux(all: Members): Members {
  const linux: Members = { ...all }
  const { rootfsPropagation, devices, resources, intelRdt, namespaces, seccomp } = linux
  // docker writes what mount(8) calls it.
  if (rootfsPropagation === '') delete linux['rootfsPropagation']
  else if (typeof rootfsPropagation === 'string') {
    linux['rootfsPropagation'] = rootfsPropagation.replace(/^r(?=private$|shared$|slave$|unbindable$)/, '')
  }
  // podman 4 writes the kind of file into the mode, and the schema means octal 777 with its 512.
  linux['devices'] = each(devices, (device) => {
    const mode = device['fileMode']
    return typeof mode === 'number' && mode > 512 && mode < 2 ** 16 ? { ...device, fileMode: 512 } : device
  })
  if (isObject(resources) && isObject(resources['pids']) && !('limit' in resources['pids'])) {
    const { pids: _pids, ...others } = resources
    linux['resources'] = others
  }
  if (isObject(intelRdt) && intelRdt['memBwSchema'] === '') linux['intelRdt'] = { ...intelRdt, memBwSchema: 'MB:' }
  linux['namespaces'] = Array.isArray(namespaces)
    ? namespaces.filter((entry) => !isObject(entry) || entry['type'] !== 'time')
    : namespaces
  if (isObject(seccomp) && Array.isArray(seccomp['architectures'])) {
    const later = /^SCMP_ARCH_(LOONGARCH64|M68K|SHEB|SH)$/
    const architectures = seccomp['architectures'].filter((name) => typeof name !== 'string' || !later.test(name))
    linux['seccomp'] = { ...seccomp, architectures }
  }
  return Object.fromEntries(Object.entries(linux).filter(([, value]) => value !== undefined))
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function each(list: unknown, change: (item: Members) => Members): unknown {
  return Array.isArray(list) ? list.map((item: unknown) => (isObject(item) ? change(item) : item)) : list
}

/** Go writes null for what is not set; in lists it stays. */
function withoutNull(value: unknown): [unknown] {
  if (Array.isArray(value)) return [value.map((item) => withoutNull(item)[0])]
  if (!isObject(value)) return [value]
  const members = Object.entries(value).filter(([, member]) => member !== null)
  return [Object.fromEntries(members.map(([key, member]) => [key, withoutNull(member)[0]]))]
}

describe('beside the schema of the specification', () => {
  it('what engines and we write is valid', () => {
    for (const document of VALID) expect(against(forgiven(document))).toEqual([])
    expect(against({ ...FULL, process: { ...FULL.process, cwd: 7 } })).not.toEqual([])
  })

  it('whatever it refuses the reader refuses, in one line with the path of a place in the document', () => {
    let refused = 0
    fc.assert(
      fc.property(mutated, (document) => {
        const text = JSON.stringify(document)
        const error = failure(text)
        const complaints = against(forgiven(document))
        if (complaints.length > 0) refused += 1
        if (error === undefined) {
          expect(complaints, text).toEqual([])
          return
        }
        expect(error.message).toMatch(/^config\.json: \S.{1,400}$/)
        // A member that is missing has a place as well, in what it is missing from.
        const place = error.subject === 'config.json' ? [] : keys(error.subject ?? '')
        expect(has(JSON.parse(text), place.slice(0, -1)), error.message).toBe(true)
      }),
      { numRuns: 1500 },
    )
    expect(refused).toBeGreaterThan(500)
  })
})

/** What the reader throws; anything but INVALID_CONFIG is a bug of ours. */
function failure(text: string): TscrunError | undefined {
  try {
    readConfig(text)
    return undefined
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'INVALID_CONFIG') return error
    throw error
  }
}
