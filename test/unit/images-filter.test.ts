import { describe, expect, it } from 'vitest'
import { EXTRACTOR_FILTERS } from '../../src/images/extractor/filter-bytes.ts'
import { EXTRACTOR_PROFILE } from '../../src/images/extractor/filter-profile.ts'
import { compileSeccomp } from '../../src/security/seccomp/compile.ts'

const compiled = (arch: 'x64' | 'arm64'): string => compileSeccomp(EXTRACTOR_PROFILE, arch).program.toString('base64')

describe('the filter of the extractor', () => {
  it('is the program of its profile, made beforehand', async () => {
    const lines = (['x64', 'arm64'] as const).map((arch) => {
      // As the formatter has it: a short key stays beside its value.
      return `  ${arch}:${arch === 'x64' ? ' ' : '\n    '}'${compiled(arch)}',`
    })
    const text = `/**
 * Programs of filter-profile.ts by processor, base64. Written from it, never by hand:
 * \`npx vitest run test/unit/images-filter.test.ts -u\`.
 */
export const EXTRACTOR_FILTERS = {
${lines.join('\n')}
} as const
`
    await expect(text).toMatchFileSnapshot('../../src/images/extractor/filter-bytes.ts')
    expect(EXTRACTOR_FILTERS).toEqual({ x64: compiled('x64'), arm64: compiled('arm64') })
  })

  it('names no call that no processor has', () => {
    expect(compileSeccomp(EXTRACTOR_PROFILE, 'x64').unknown).toEqual([])
  })
})
