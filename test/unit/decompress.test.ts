import * as zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { throughStreams } from '../../src/images/extractor/decompress.ts'

const PARTS = ['a'.repeat(400_000), '', 'b', 'c'.repeat(70_000)]

/** zlib's own format, of which Node's stream takes one part, as it does of zstd. */
const parts = Buffer.concat(PARTS.map((part) => zlib.deflateSync(part)))

async function inflate(bytes: Buffer, step: number): Promise<string> {
  const come: Buffer[] = []
  const create = (): zlib.Gunzip => zlib.createInflate({ chunkSize: 1024 })
  const decompressor = throughStreams(create, (chunk) => void come.push(Buffer.from(chunk)), 'zstd')
  for (let at = 0; at < bytes.length; at += step) await decompressor.write(bytes.subarray(at, at + step))
  await decompressor.end()
  return Buffer.concat(come).toString()
}

describe('a stream that takes one part of several', () => {
  it.each([1, 7, 100, 1 << 20])('is followed by another one, in pieces of %i bytes', async (step) => {
    expect(await inflate(parts, step)).toBe(PARTS.join(''))
  })

  it.each([Buffer.alloc(100), Buffer.alloc(100, 0xa5)])('does not hide what is behind the last one', async (rest) => {
    await expect(inflate(Buffer.concat([parts, rest]), 50)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  })

  it('is not whole without its end', async () => {
    await expect(inflate(parts.subarray(0, -1), 50)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  })

  it('hands on what the reader says of its bytes', async () => {
    const decompressor = throughStreams(
      () => zlib.createInflate(),
      () => {
        throw new Error('enough')
      },
      'zstd',
    )
    await expect(decompressor.write(parts).then(() => decompressor.end())).rejects.toThrow('enough')
  })
})
