import { describe, expect, it } from 'vitest'
import { hexOf, parseDiffId, parseDigest } from '../../src/model/digest.ts'

const HEX = 'a1'.repeat(32)

describe('a digest', () => {
  it('is sha256 and 64 lower-case hex digits', () => {
    expect(parseDigest(`sha256:${HEX}`, 'here')).toBe(`sha256:${HEX}`)
    expect(parseDiffId(`sha256:${HEX}`, 'here')).toBe(`sha256:${HEX}`)
    expect(hexOf(parseDigest(`sha256:${HEX}`, 'here'))).toBe(HEX)
  })

  // CVE-2024-3727: a digest that was not checked became a path.
  it.each([
    undefined,
    null,
    7,
    {},
    [`sha256:${HEX}`],
    '',
    HEX,
    `sha256:${HEX}0`,
    `sha256:${HEX.slice(1)}`,
    `sha256:${HEX.toUpperCase()}`,
    `sha256:${HEX}\n`,
    `\nsha256:${HEX}`,
    `sha512:${HEX}${HEX}`,
    `sha256:../../${'a'.repeat(58)}`,
    `sha256:${'g'.repeat(64)}`,
  ])('%j is none, and the error says where', (text) => {
    expect(() => parseDigest(text, 'the manifest')).toThrow(
      expect.objectContaining({
        code: 'INVALID_IMAGE',
        message: expect.stringMatching(/^the manifest: not a sha256 digest/),
      }),
    )
  })

  it('of a hostile length is shortened in the error', () => {
    expect(() => parseDigest('x'.repeat(1_000_000), 'here')).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{1,200}$/s) }),
    )
  })
})
