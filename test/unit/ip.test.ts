import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressAt, contains, formatIp, hosts, ipBytes, overlap, parseIp, parseSubnet } from '../../src/model/ip.ts'

const anyIp = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ({ family: 4 as const, value })),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ({ family: 6 as const, value })),
)

describe('an IP address', () => {
  it('is read back from its text, which others read too', () => {
    fc.assert(
      fc.property(anyIp, (address) => {
        const text = formatIp(address)
        expect(parseIp(text)).toEqual(address)
        expect(address.family === 4 ? isIPv4(text) : isIPv6(text)).toBe(true)
      }),
    )
  })

  it('is what node:net takes for one', () => {
    const parts = fc.constantFrom(
      '0',
      '1',
      '255',
      '256',
      '01',
      'fd00',
      'g',
      '',
      ':',
      '::',
      '.',
      '1.2.3.4',
      '%eth0',
      '/8',
    )
    const joint = fc.constantFrom(':', '.', '::')
    const text = fc
      .array(fc.tuple(parts, joint), { maxLength: 9 })
      .map((list) => list.flat().join('').replace(/[:.]$/, ''))
    fc.assert(
      fc.property(fc.oneof(text, fc.ipV6(), fc.ipV4()), (candidate) => {
        // A zone names a link of one host: that is no address that could be given out.
        const expected = !candidate.includes('%') && (isIPv4(candidate) || isIPv6(candidate))
        expect(parseIp(candidate) !== undefined, candidate).toBe(expected)
      }),
    )
  })

  it.each([
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['FD00:0:0:1:0:0:0:2', 'fd00:0:0:1::2'],
    ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ])('%s is written %s', (text, written) => {
    const address = parseIp(text)
    expect(address === undefined ? undefined : formatIp(address)).toBe(written)
  })

  it('has its bytes in network order', () => {
    expect([...ipBytes({ family: 4, value: 0x0a6e0001n })]).toEqual([10, 110, 0, 1])
    expect([...ipBytes({ family: 6, value: 1n })].at(-1)).toBe(1)
  })
})

describe('a subnet', () => {
  it.each(['10.0.0.1/24', '10.0.0.0/33', '10.0.0.0', 'fd00::1/64', '/8', 'x/8'])('is not %s', (text) => {
    expect(parseSubnet(text)).toBeUndefined()
  })

  it('has the addresses from its first to its last, and no other', () => {
    fc.assert(
      fc.property(anyIp, fc.integer({ min: 0, max: 32 }), (address, prefix) => {
        const bits = BigInt((address.family === 4 ? 32 : 128) - prefix)
        const subnet = { first: { ...address, value: (address.value >> bits) << bits }, prefix }
        expect(contains(subnet, address)).toBe(true)
        const last = addressAt(subnet, hosts(subnet) - 1n)
        expect(contains(subnet, last)).toBe(true)
        expect(contains(subnet, { ...last, value: last.value + 1n })).toBe(false)
        expect(overlap(subnet, { first: address, prefix: address.family === 4 ? 32 : 128 })).toBe(true)
      }),
    )
  })
})
