import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultName } from '../../src/engine/start/name.ts'
import { fillIn, type Identity, makeTemplate, otherId } from '../../src/plan/template.ts'

const digits = fc.array(fc.integer({ min: 0, max: 15 }), { minLength: 64, maxLength: 64 })
const ids = digits.map((list) => list.map((digit) => digit.toString(16)).join(''))
const identities = fc
  .record({ id: ids, range: fc.nat(3000), nowMs: fc.integer({ min: 1e12, max: 9e12 }), host: fc.nat(99) })
  .map(
    ({ id, range, nowMs, host }): Identity => ({
      id,
      name: defaultName(id),
      firstId: 0x70000000 + 65536 * range,
      nowMs,
      ip: `10.110.200.${100 + host}`,
      ip6: `fd00:1:2:3::a:${(0x1000 + host).toString(16)}`,
    }),
  )

type Part = (identity: Identity) => Buffer
const number = (value: number, size: 4 | 8): Buffer => {
  const bytes = Buffer.alloc(size)
  bytes.writeUInt32LE(value)
  return bytes
}
/** Pieces of 8 bytes each, as a plan has them, some of which depend on the identity. */
const parts: fc.Arbitrary<Part> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map(
    (bytes): Part =>
      () =>
        pad(Buffer.from(bytes)),
  ),
  fc.constant<Part>(({ id }) => pad(Buffer.from(`cgroup/${id}.`))),
  fc.constant<Part>(({ id }) => pad(Buffer.from(`host ${id.slice(0, 12)}`))),
  fc.constant<Part>(({ id }) => pad(Buffer.from(id.slice(0, 32)))),
  fc.constant<Part>(({ id }) => pad(Buffer.from(`link tv0${id.slice(0, 11)}`))),
  fc.constant<Part>(({ id }) => pad(Buffer.from(`0a:${id.slice(24, 32).match(/../g)?.join(':')}:00`))),
  fc.constant<Part>(({ id }) => pad(Buffer.concat([Buffer.of(10), Buffer.from(id.slice(24, 32), 'hex')]))),
  fc.constant<Part>(({ ip, ip6 }) => pad(Buffer.from(`{"ip":"${ip}","ip6":"${ip6}"}`))),
  fc.constant<Part>(({ ip = '' }) => pad(Buffer.from(ip.split('.').map(Number)))),
  fc.constant<Part>(({ ip6 = '' }) =>
    pad(
      Buffer.concat([
        Buffer.from('fd00000100020003', 'hex'),
        Buffer.from(`0000000000 0${ip6.slice(-6)}`.replaceAll(/[ :]/g, ''), 'hex'),
      ]),
    ),
  ),
  fc.constant<Part>(({ name }) => pad(Buffer.from(`127.0.1.1 ${name}\n`))),
  fc.constant<Part>(({ nowMs }) => pad(Buffer.from(`{"createdMs":${nowMs}}`))),
  fc.nat(65535).map(
    (add): Part =>
      ({ firstId }) =>
        pad(Buffer.from(`0 ${firstId + add} 65536\n`)),
  ),
  fc.nat(65535).map(
    (add): Part =>
      ({ firstId }) =>
        number(firstId + add, 8),
  ),
  fc.nat(65535).map(
    (add): Part =>
      ({ firstId }) =>
        Buffer.concat([number(firstId + add, 4), number(7, 4)]),
  ),
)
const pad = (bytes: Buffer): Buffer => Buffer.concat([bytes], (bytes.length + 7) & ~7)

const otherOf = (identity: Identity): Identity => {
  const id = otherId(identity.id, defaultName)
  const firstId = identity.firstId === 0x70000000 ? 0x70010000 : 0x70000000
  const [ip, ip6] = ['10.110.210.255', 'fd00:1:2:3::b:ffff']
  return { id, name: defaultName(id), firstId, nowMs: 9_999_999_999_999 - identity.nowMs, ip, ip6 }
}

describe('a template', () => {
  it('made of two samples gives the bytes for any identity whose name is as long', () => {
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 30 }), identities, identities, (list, one, another) => {
        const bytes = (identity: Identity): Buffer => Buffer.concat(list.map((part) => part(identity)))
        const other = otherOf(one)
        const template = makeTemplate({ bytes: bytes(one), identity: one }, { bytes: bytes(other), identity: other })
        if (template === undefined) return expect.unreachable()
        expect(fillIn(template, other)).toEqual(bytes(other))
        if (another.name.length === one.name.length) expect(fillIn(template, another)).toEqual(bytes(another))
      }),
    )
  })

  it('is not made where they differ in anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(99), identities, (bytes, at, identity) => {
        const changed = Buffer.from(bytes)
        changed[at % bytes.length] = (changed[at % bytes.length] ?? 0) ^ 1
        const other = otherOf(identity)
        const sample = { bytes: Buffer.from(bytes), identity }
        expect(makeTemplate(sample, { bytes: changed, identity: other })).toBeUndefined()
        expect(makeTemplate(sample, { bytes: changed.subarray(1), identity: other })).toBeUndefined()
      }),
    )
  })

  it('sees a part of an id that has another length', () => {
    const identity: Identity = { id: '0123456789abcdef'.repeat(4), name: 'x', firstId: 0x70000000, nowMs: 1e12 }
    const id = otherId(identity.id, () => 'x')
    expect([...id].every((digit, index) => index > 8 || digit !== identity.id[index])).toBe(true)
    const sample = (of: Identity): { bytes: Buffer; identity: Identity } => ({
      bytes: Buffer.from(of.id.slice(0, 8)),
      identity: of,
    })
    expect(makeTemplate(sample(identity), sample({ ...identity, id, firstId: 0x70010000 }))).toBeUndefined()
  })
})
