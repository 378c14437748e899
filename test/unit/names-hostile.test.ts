import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NetworkConnection } from '../../src/model/network.ts'
import { membershipText } from '../../src/network/names.ts'

const NAMES = new URL('../../native/names/', import.meta.url).pathname
const DRIVER = new URL('fixtures/names-feed.c', import.meta.url).pathname

let directory = ''

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-names-'))
  const flags = ['-std=gnu11', '-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I', NAMES]
  const sources = [DRIVER, join(NAMES, 'dns.c'), join(NAMES, 'table.c')]
  execFileSync('cc', [...flags, '-o', join(directory, 'feed'), ...sources])
  const front = (ip: string, ip6: string, aliases: readonly string[]): NetworkConnection => {
    return { network: 'front', networkId: 'f'.repeat(64), link: 'eth0', mac: '', ip, ip6, aliases }
  }
  const member = (name: string, connection: NetworkConnection): string =>
    membershipText(
      { id: name.repeat(64).slice(0, 64), name, hostname: `${name}.host` },
      [{ connection, prefixes: { 4: 24, 6: 64 } }],
      'host',
    )
  writeFileSync(join(directory, 'asker'), member('asker', front('10.1.1.2', 'fd00::2', [])))
  for (let index = 0; index < 60; index++) {
    const aliases = index === 0 ? ['WWW', 'pool', 'a\nh b'] : ['pool']
    writeFileSync(
      join(directory, `m${index}`),
      member(`m${index}`, front(`10.1.1.${index + 3}`, `fd00::${index + 3}`, aliases)),
    )
  }
  writeFileSync(
    join(directory, 'other'),
    member('hidden', { ...front('10.1.1.99', 'fd00::99', []), networkId: 'e'.repeat(64) }),
  )
}, 120_000)

afterAll(() => rmSync(directory, { recursive: true }))

/** What is answered to each packet. The sanitizers' words fail the test. */
function feed(packets: readonly Uint8Array[]): Buffer[] {
  const files = ['asker', 'other', ...Array.from({ length: 60 }, (_, index) => `m${index}`)]
  const input = Buffer.concat(packets.flatMap((packet) => [u16(packet.length), packet]))
  const { status, stderr, stdout } = spawnSync(
    join(directory, 'feed'),
    files.map((file) => join(directory, file)),
    {
      input,
      env: { ASAN_OPTIONS: 'detect_leaks=0' },
      maxBuffer: 2 ** 26,
    },
  )
  expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' })
  const answers: Buffer[] = []
  for (let at = 0; at < stdout.length; ) {
    const size = stdout.readUInt16BE(at)
    answers.push(stdout.subarray(at + 2, at + 2 + size))
    at += 2 + size
  }
  expect(answers).toHaveLength(packets.length)
  return answers
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

const TYPES = { A: 1, PTR: 12, MX: 15, AAAA: 28 } as const

/** @param options size of an answer that EDNS tells */
function query(name: string, type: keyof typeof TYPES, options?: number): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')])
  const opt = options === undefined ? [] : [Buffer.from([0, 0, 41]), u16(options), Buffer.alloc(6)]
  const counts = [1, 0, 0, opt.length === 0 ? 0 : 1].map(u16)
  return Buffer.concat([
    u16(0x1234),
    u16(0x0100),
    ...counts,
    ...labels,
    Buffer.from([0]),
    u16(TYPES[type]),
    u16(1),
    ...opt,
  ])
}

/** Code, whether it was cut off, and how many records. */
function told(answer: Buffer | undefined): { code: number; cut: boolean; records: number } | undefined {
  if (answer === undefined || answer.length === 0) return undefined
  return {
    code: answer.readUInt16BE(2) & 15,
    cut: (answer.readUInt16BE(2) & 0x200) !== 0,
    records: answer.readUInt16BE(6),
  }
}

describe('the name service', () => {
  it('answers for the names of a network, whatever their case, and for nobody else', () => {
    const one = { code: 0, cut: false, records: 1 }
    const cases: [Buffer, ReturnType<typeof told>][] = [
      [query('m0', 'A'), one],
      [query('M0.Front', 'AAAA'), one],
      [query('www', 'A'), one],
      [query('m0.host', 'A'), one],
      [query('3.1.1.10.in-addr.arpa', 'PTR'), one],
      [query(`3.0.0.0.${'0.'.repeat(24)}0.0.d.f.ip6.arpa`, 'PTR'), one],
      // There is such a name, but nothing of this kind.
      [query('m0', 'MX'), { code: 0, cut: false, records: 0 }],
      // An address of the network that nobody has.
      [query('200.1.1.10.in-addr.arpa', 'PTR'), { code: 3, cut: false, records: 0 }],
      // Others have to be asked.
      [query('hidden', 'A'), undefined],
      [query('b', 'A'), undefined],
      [query('99.1.2.10.in-addr.arpa', 'PTR'), undefined],
      [query('m0.back', 'A'), undefined],
      // What does not fit is cut off, unless more room was told.
      [query('pool', 'A'), { code: 0, cut: true, records: 30 }],
      [query('pool', 'A', 4096), { code: 0, cut: false, records: 60 }],
    ]
    expect(feed(cases.map(([packet]) => packet)).map(told)).toEqual(cases.map(([, answer]) => answer))
  })

  it('tells the address and the name', () => {
    const [address, name] = feed([query('m7', 'A'), query('10.1.1.10.in-addr.arpa', 'PTR')])
    expect(address?.subarray(-4)).toEqual(Buffer.from([10, 1, 1, 10]))
    expect(name?.subarray(-4).toString('latin1')).toBe('\x02m7\0')
  })

  it('survives hostile packets, and answers within bounds', () => {
    const known = fc.constantFrom(
      query('m0', 'A'),
      query('pool', 'AAAA', 1232),
      query('3.1.1.10.in-addr.arpa', 'PTR', 65535),
      query('a'.repeat(63), 'A', 0),
    )
    const changed = fc
      .tuple(known, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }), fc.nat())
      .map(([packet, changes, length]) => {
        const bytes = Buffer.from(packet)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return length % 3 === 0 ? bytes.subarray(0, length % (bytes.length + 1)) : bytes
      })
    const random = fc.uint8Array({ maxLength: 600 })
    const packets = fc.array(fc.oneof(changed, random), { minLength: 150, maxLength: 200 })
    fc.assert(
      fc.property(packets, (all) => {
        for (const [index, answer] of feed(all).entries()) {
          if (answer.length === 0) continue
          const packet = Buffer.from(all[index] ?? [])
          expect(answer.length).toBeLessThanOrEqual(4096)
          expect(answer.subarray(0, 2)).toEqual(packet.subarray(0, 2))
          expect(answer.readUInt16BE(2) & 0x8000).toBe(0x8000)
        }
      }),
      { numRuns: 10 },
    )
  })
})
