import { describe, expect, it } from 'vitest'
import { parseImageConfig } from '../../src/images/documents.ts'
import { resolveHealth } from '../../src/spec/health.ts'

const DEFAULTS = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 5000,
  onFailure: 'none',
}

describe('the check that image and caller ask for together', () => {
  const image = { test: ['CMD', 'check', '-q'], intervalMs: 7000, retries: 9 }

  it.each([
    [undefined, undefined, undefined],
    [undefined, false, undefined],
    [image, false, undefined],
    [{ test: ['NONE'] }, undefined, undefined],
    [{ test: ['CMD'] }, undefined, undefined],
    [undefined, { command: '' }, undefined],
    [image, undefined, { ...DEFAULTS, args: ['check', '-q'], intervalMs: 7000, retries: 9 }],
    [image, { retries: 2 }, { ...DEFAULTS, args: ['check', '-q'], intervalMs: 7000, retries: 2 }],
    [image, { command: ['own'] }, { ...DEFAULTS, args: ['own'], intervalMs: 7000, retries: 9 }],
    [{ test: ['CMD-SHELL', 'a | b'] }, undefined, { ...DEFAULTS, args: ['/bin/sh', '-c', 'a | b'] }],
    [undefined, { command: 'a; b', timeoutMs: 5 }, { ...DEFAULTS, args: ['/bin/sh', '-c', 'a; b'], timeoutMs: 5 }],
  ] as const)('of %j and %j is %j', (ofImage, options, expected) => {
    expect(resolveHealth(ofImage, options)).toEqual(expected)
  })

  it('is refused where nobody says what to check', () => {
    expect(() => resolveHealth({ test: ['NONE'] }, { intervalMs: 5 })).toThrow(
      expect.objectContaining({ code: 'USAGE', message: 'health: there is no check to be made' }),
    )
  })
})

describe("an image's Healthcheck", () => {
  const read = (config: object): unknown => {
    const rootfs = { type: 'layers', diff_ids: [`sha256:${'a'.repeat(64)}`] }
    const document = { architecture: 'amd64', os: 'linux', rootfs, config }
    return parseImageConfig(Buffer.from(JSON.stringify(document)), 'config of x').healthcheck
  }

  it.each([
    [{}, undefined],
    [{ Healthcheck: {} }, undefined],
    [{ Healthcheck: { Test: ['NONE'] } }, { test: ['NONE'] }],
    [
      {
        Healthcheck: { Test: ['CMD', 'x'], Interval: 2e9, Timeout: 1, StartPeriod: 0, StartInterval: 5e6, Retries: 4 },
      },
      { test: ['CMD', 'x'], intervalMs: 2000, timeoutMs: 1, startIntervalMs: 5, retries: 4 },
    ],
    [
      { Healthcheck: { Test: ['CMD-SHELL', 'x y'] }, Shell: ['/bin/ash', '-ec'] },
      { test: ['CMD', '/bin/ash', '-ec', 'x y'] },
    ],
  ])('of %j is %j', (config, expected) => {
    expect(read(config)).toEqual(expected)
  })

  it.each([
    [{ Test: 'true' }],
    [{ Test: ['CMD', 5] }],
    [{ Test: ['CMD', 'x'], Interval: -1 }],
    [{ Test: ['CMD'], Retries: 'no' }],
  ])('%j makes the image invalid', (Healthcheck) => {
    expect(() => read({ Healthcheck })).toThrow(expect.objectContaining({ code: 'INVALID_IMAGE' }))
  })
})
