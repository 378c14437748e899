import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeMessage, u32, type Attribute } from '../../src/network/netlink/message.ts'
import { newVeth } from '../../src/network/netlink/links.ts'

interface Read {
  readonly type: number
  readonly bytes: Uint8Array
}

/** As the kernel walks them: netlink(7), struct nlattr. */
function attributes(bytes: Uint8Array): Read[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const list: Read[] = []
  for (let at = 0; at < bytes.length; at += (view.getUint16(at, true) + 3) & ~3) {
    const size = view.getUint16(at, true)
    expect(size).toBeGreaterThanOrEqual(4)
    expect(at + size).toBeLessThanOrEqual(bytes.length)
    list.push({ type: view.getUint16(at + 2, true), bytes: bytes.subarray(at + 4, at + size) })
  }
  return list
}

describe('a netlink message', () => {
  it('is read back as it was meant, whatever the sizes', () => {
    const value = fc.uint8Array({ maxLength: 40 })
    const flat = fc.tuple(fc.integer({ min: 1, max: 100 }), value)
    fc.assert(
      fc.property(fc.array(flat, { maxLength: 8 }), fc.uint8Array({ maxLength: 32 }), (list, header) => {
        const { bytes } = encodeMessage(16, 0x600, { header, attributes: list })
        const view = new DataView(bytes.buffer)
        expect([view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true)]).toEqual([
          bytes.length,
          16,
          0x605,
        ])
        const read = attributes(bytes.subarray(16 + ((header.length + 3) & ~3)))
        expect(read.map(({ type, bytes: found }) => [type, [...found]])).toEqual(
          list.map(([type, found]) => [type, [...found]]),
        )
      }),
    )
  })

  it('says where numbers are missing that only the run knows, at any depth', () => {
    const inner: Attribute[] = [
      [1, Uint8Array.of(1, 2, 3)],
      [28, 'netns'],
    ]
    const { bytes, marks } = encodeMessage(16, 0, {
      header: new Uint8Array(16),
      attributes: [
        [18, { attributes: [[2, { header: new Uint8Array(16), attributes: inner }]] }],
        [10, 'master'],
      ],
    })
    const view = new DataView(bytes.buffer)
    for (const [mark, type] of [
      ['netns', 28],
      ['master', 10],
    ] as const) {
      const at = marks.get(mark) ?? 0
      expect([view.getUint16(at - 4, true), view.getUint16(at - 2, true)]).toEqual([8, type])
    }
  })

  it('refuses an attribute whose length does not fit', () => {
    expect(() => encodeMessage(16, 0, { attributes: [[1, new Uint8Array(65_532)]] })).toThrow(RangeError)
  })

  it('of a pair of links names both ends', () => {
    const guest = { name: 'eth0', index: 2, mac: Uint8Array.of(10, 1, 2, 3, 4, 5), mtu: 1400 }
    const { bytes, marks } = newVeth('tv0', guest)
    expect(Buffer.from(bytes).toString('latin1')).toMatch(/tv0\0[^]*veth\0[^]*eth0\0/)
    expect([...marks.keys()].toSorted()).toEqual(['master', 'netns'])
    expect(u32(1400)).toEqual(Uint8Array.of(0x78, 5, 0, 0))
  })
})
