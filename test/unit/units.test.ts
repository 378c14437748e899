import { describe, expect, it } from 'vitest'
import { formatBytes, parseBytes } from '../../src/model/units.ts'

describe('a size', () => {
  it.each([
    ['0', 0],
    ['1', 1],
    ['1b', 1],
    ['1k', 1024],
    ['1K', 1024],
    ['1kb', 1024],
    ['1KiB', 1024],
    ['64m', 64 * 2 ** 20],
    ['64MB', 64 * 2 ** 20],
    ['1.5g', 1.5 * 2 ** 30],
    ['1 g', 2 ** 30],
    ['2t', 2 * 2 ** 40],
    ['1p', 2 ** 50],
    ['0.5k', 512],
    ['1.0001k', 1024],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes)
  })

  it.each([
    '',
    ' ',
    '-1',
    '+1',
    '1e3',
    '0x10',
    '1x',
    'm',
    '1.',
    '.5',
    '1,5',
    '1mm',
    '1 m b',
    'Infinity',
    'NaN',
    '9p ',
    '8192p',
    '99999999999999999999',
    '1\n',
  ])('%j is none', (text) => {
    expect(parseBytes(text)).toBeUndefined()
  })

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1234, '1.23 kB'],
    [123_456_789, '123 MB'],
    [1e15, '1 PB'],
    [1e18, '1000 PB'],
  ])('of %d bytes is shown as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
