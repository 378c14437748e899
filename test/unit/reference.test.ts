import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import { formatReference, parseReference } from '../../src/model/reference.ts'

const SHA = `sha256:${'0123456789abcdef'.repeat(4)}`

describe('an image name', () => {
  it.each([
    ['alpine', 'docker.io/library/alpine:latest'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['user/app', 'docker.io/user/app:latest'],
    ['docker.io/alpine', 'docker.io/library/alpine:latest'],
    ['index.docker.io/library/alpine', 'docker.io/library/alpine:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:1', 'localhost:5000/app:1'],
    ['127.0.0.1:5000/a/b/c:1', '127.0.0.1:5000/a/b/c:1'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['quay.io/a/b', 'quay.io/a/b:latest'],
    ['Registry/app', 'Registry/app:latest'],
    [`alpine@${SHA}`, `docker.io/library/alpine@${SHA}`],
    [`alpine:3@${SHA}`, `docker.io/library/alpine:3@${SHA}`],
    ['a/b__c/d-e.f', 'docker.io/a/b__c/d-e.f:latest'],
    ['app:5000', 'docker.io/library/app:5000'],
  ])('%s is %s', (text, whole) => {
    expect(formatReference(parseReference(text))).toBe(whole)
    // The whole name means the same.
    expect(parseReference(whole)).toEqual(parseReference(text))
  })

  it.each([
    '',
    ' ',
    'a b',
    'Upper',
    'app:',
    'app:tag:tag',
    'app:-x',
    `app:${'x'.repeat(129)}`,
    'app@sha256:abc',
    `app@sha512:${'0'.repeat(128)}`,
    `app@${SHA.toUpperCase()}`,
    'a//b',
    '/a',
    'a/',
    '../a',
    'a/../b',
    'a/./b',
    'localhost:5000/',
    'localhost:port/app',
    'http://localhost/app',
    '-a',
    'a-',
    'a___b',
    'a..b',
    'app\n',
    'app\0',
    'ä',
    `a/${'x'.repeat(256)}`,
  ])('%j is refused', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'INVALID_REFERENCE' }))
  })

  it('is parsed or refused, and what was parsed is safe as a path and as a URL', () => {
    const near = fc.string({ unit: fc.constantFrom(...'aA0._-/:@[]%?#\\ \0é'), maxLength: 30 })
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        try {
          const { registry, repository, tag = 'x' } = parseReference(text)
          expect(repository.split('/')).not.toContain('..')
          expect(
            new URL(`https://${registry === 'docker.io' ? 'r' : 'r'}/v2/${repository}/manifests/${tag}`).pathname,
          ).toBe(`/v2/${repository}/manifests/${tag}`)
        } catch (error) {
          expect(error).toBeInstanceOf(TscrunError)
          expect((error as Error).message).not.toContain('\n')
        }
      }),
      { numRuns: 3000, seed: 1 },
    )
  })
})
