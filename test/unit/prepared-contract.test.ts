import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { enginePaths } from '../../src/engine/paths.ts'
import {
  encodePrepared,
  PREPARED_FILE,
  preparedName,
  type PreparedStart,
  storeOfWords,
} from '../../src/engine/prepared/file.ts'
import { WITNESS } from '../../src/engine/prepared/witnesses.ts'
import { MARK } from '../../src/plan/template.ts'

const HEADER = readFileSync(new URL('../../native/replay/prepared.h', import.meta.url), 'utf8')

const define = (name: string): number => Number(new RegExp(`#define ${name} (0x[0-9a-f]+|\\d+)`).exec(HEADER)?.[1])

/** Members of the enum that begins with this one, in their order. */
function members(first: string): string[] {
  const begin = HEADER.indexOf(first)
  const body = HEADER.slice(begin, HEADER.indexOf('};', begin)).replaceAll(/\/\*.*?\*\//gs, '')
  return body.split(',').flatMap((part) => /[A-Z][A-Z_]+[0-9]?/.exec(part)?.[0] ?? [])
}

const START: PreparedStart = {
  key: { packageRoot: '/opt/tscrun', directory: '/here', argv: ['run', '--rm', 'image'] },
  witnesses: [{ kind: 'file', path: '/etc/hosts', error: 0, seen: Buffer.from('seen') }],
  plan: { bytes: Buffer.from('plan bytes'), marks: [{ offset: 5, kind: MARK.decimal, number: 7 }] },
  record: { bytes: Buffer.from('{}'), marks: [] },
  words: [['one'], ['two', 'three']],
  nameLength: 12,
  pool: { first: 0x70000000, ranges: 4, rangeSize: 65536 },
  terminal: true,
  useLock: '/store/use.lock',
  network: {
    leases: '/store/leases/abc',
    ip4: { first: { family: 4, value: 0x0a6e0000n }, prefix: 16, count: 65534, gateway: 1, width: 14 },
    ip6: { first: { family: 6, value: (0xfdn << 120n) + 0x10n }, prefix: 64, count: 1048576, gateway: 2, width: 20 },
  },
  sayings: [{ what: { errno: 28, stderr: true }, text: 'full\n', exitCode: 125 }],
}

describe('the file of a prepared start and native/replay/prepared.h', () => {
  it('agree on kinds and numbers', () => {
    expect([define('PREPARED_MAGIC'), define('PREPARED_VERSION')]).toEqual([PREPARED_FILE.magic, PREPARED_FILE.version])
    expect(HEADER).toContain('#define PREPARED_MAX_BYTES (1u << 20)')
    const numbered = (names: readonly string[], prefix: string): Record<string, number> =>
      Object.fromEntries(names.map((name, index) => [name.slice(prefix.length).toLowerCase(), index + 1]))
    expect(numbered(members('WITNESS_FILE = 1'), 'WITNESS_')).toEqual(WITNESS)
    expect(numbered(members('MARK_ID = 1'), 'MARK_')).toEqual(MARK)
  })

  it('agree on sections, places and numbers', () => {
    const bytes = encodePrepared(START, enginePaths({ root: '/store', runRoot: '/runs' }, {}))
    if (bytes === undefined) return expect.unreachable()
    const names = members('SECTION_KEY')
    expect(names.at(-1)).toBe('SECTIONS')
    const section = (name: string): Buffer => {
      const index = names.indexOf(name)
      expect(index).toBeGreaterThanOrEqual(0)
      const offset = bytes.readUInt32LE(16 + 8 * index)
      expect(offset % 8).toBe(0)
      return bytes.subarray(offset, offset + bytes.readUInt32LE(20 + 8 * index))
    }
    const texts = (name: string): string[] => section(name).toString().split('\0').slice(0, -1)
    expect(bytes.readUInt32LE(8)).toBe(bytes.length)
    expect(texts('SECTION_KEY')).toEqual(['/opt/tscrun', '/here', 'run', '--rm', 'image'])
    expect(section('SECTION_PLAN').toString()).toBe('plan bytes')
    expect(section('SECTION_RECORD').toString()).toBe('{}')
    expect([...new Uint32Array(Uint8Array.from(section('SECTION_PLAN_MARKS')).buffer)]).toEqual([5, MARK.decimal, 7, 0])
    expect(texts('SECTION_SECOND_WORDS')).toEqual(['two', 'three'])
    const places = Object.fromEntries(
      members('PLACE_CONTAINERS').map((name, index) => [name, texts('SECTION_PLACES')[index]]),
    )
    expect(places).toEqual({
      PLACE_CONTAINERS: '/store/containers',
      PLACE_NAMES: '/store/names',
      PLACE_RANGES: '/store/ranges',
      PLACE_RUNS: '/runs',
      PLACE_USE_LOCK: '/store/use.lock',
      PLACE_CGROUPS: '',
      PLACE_LEASES: '/store/leases/abc',
      PLACES: undefined,
    })
    const numbers = members('NUMBER_NAME_LENGTH').slice(0, -1)
    const values = numbers.map((name, index) => [name, Number(section('SECTION_NUMBERS').readBigUInt64LE(8 * index))])
    expect(Object.fromEntries(values)).toEqual({
      NUMBER_NAME_LENGTH: 12,
      NUMBER_FIRST_ID: 0x70000000,
      NUMBER_RANGES: 4,
      NUMBER_RANGE_SIZE: 65536,
      NUMBER_TERMINAL: 1,
      NUMBER_LOW4: 0x0a6e0000,
      NUMBER_COUNT4: 65534,
      NUMBER_GATEWAY4: 1,
      NUMBER_WIDTH4: 14,
      NUMBER_HIGH6: 0xfd * 2 ** 56,
      NUMBER_LOW6: 0x10,
      NUMBER_COUNT6: 1048576,
      NUMBER_GATEWAY6: 2,
      NUMBER_WIDTH6: 20,
    })
    expect(section('SECTION_SAYINGS').readUInt32LE(0)).toBe(28 | define('SAYING_ERROR_STREAM'))
  })

  it('is not written where the launcher would not read it', () => {
    const plan = { bytes: Buffer.alloc(2 ** 20), marks: [] }
    expect(encodePrepared({ ...START, plan }, enginePaths({}, {}))).toBeUndefined()
  })

  it('is named by a hash of all the words', () => {
    const name = preparedName(START.key)
    expect(name).toMatch(/^[0-9a-f]{16}$/)
    expect(preparedName({ ...START.key, argv: ['run', '--rm', 'imag', 'e'] })).not.toBe(name)
    expect(preparedName({ ...START.key, directory: '/' })).not.toBe(name)
  })

  it('is looked for in the store that the words name', () => {
    expect(storeOfWords(['run', 'x'])).toBe('/var/lib/tscrun')
    expect(storeOfWords(['--root', '/a', 'run', '--root=/b'])).toBe('/a')
    expect(storeOfWords(['run', '--root=/b'])).toBe('/b')
    expect(storeOfWords(['run', '--root'])).toBe('/var/lib/tscrun')
  })
})
