import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatReference, parseReference } from '../../src/model/reference.ts'
import { parseChallenges } from '../../src/registry/challenge.ts'
import { endpointsFor, pushEndpoint, ruleFor } from '../../src/registry/endpoints.ts'
import { parseRegistriesConf, type RegistriesConf } from '../../src/registry/registries-conf.ts'
import { settingsFile } from '../../src/registry/registry-settings.ts'
import { isShortName, localNames, mayBeRenamed, pullNames } from '../../src/registry/short-names.ts'

function conf(...texts: string[]): RegistriesConf {
  return parseRegistriesConf(texts.map((text, i) => ({ path: `/etc/file-${i}.conf`, text })))
}

/** Where an image is asked for, `!` before a place that may be insecure. */
function asked(settings: RegistriesConf, name: string): string[] {
  return endpointsFor(settings, parseReference(name)).map(
    ({ reference, insecure }) => `${insecure ? '!' : ''}${formatReference(reference)}`,
  )
}

const EXAMPLE = `
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"

[[registry.mirror]]
location = "mirror-0.local/for-foo"

[[registry.mirror]]
location = "mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "plain.local:5000"
insecure = true

[[registry]]
prefix = "*.wild.test"
blocked = true

[[registry]]
prefix = "ok.wild.test"
`

describe('which places are asked for an image', () => {
  it('asks mirrors in order and then the location, with the rest of the name', () => {
    expect(asked(conf(EXAMPLE), 'example.com/foo/image:2')).toEqual([
      'mirror-0.local/for-foo/image:2',
      '!mirror-1.local/mirrors/foo/image:2',
      'internal.example.net/bar/image:2',
    ])
  })

  it('leaves a name alone that no rule fits', () => {
    expect(asked(conf(EXAMPLE), 'example.com/food:1')).toEqual(['example.com/food:1'])
    expect(asked(conf(EXAMPLE), 'plain.local:5001/x:1')).toEqual(['plain.local:5001/x:1'])
    expect(asked(conf(EXAMPLE), 'plain.local/x:1')).toEqual(['plain.local/x:1'])
  })

  it('pushes to the name itself: mirrors and other locations are only read', () => {
    const { reference, insecure } = pushEndpoint(conf(EXAMPLE), parseReference('example.com/foo/image:2'))
    expect([formatReference(reference), insecure]).toEqual(['example.com/foo/image:2', false])
    expect(pushEndpoint(conf(EXAMPLE), parseReference('plain.local:5000/x')).insecure).toBe(true)
  })

  it.each(['a.wild.test/x', 'a.b.wild.test:5000/x/y:1'])('refuses %s, which a wildcard blocks', (name) => {
    for (const ask of [endpointsFor, pushEndpoint]) {
      expect(() => ask(conf(EXAMPLE), parseReference(name))).toThrow(
        expect.objectContaining({ code: 'REGISTRY_BLOCKED', message: expect.stringContaining('/etc/file-0.conf') }),
      )
    }
  })

  it('takes the longest prefix, and a wildcard for none but subdomains', () => {
    expect(asked(conf(EXAMPLE), 'ok.wild.test/x:1')).toEqual(['ok.wild.test/x:1'])
    expect(asked(conf(EXAMPLE), 'wild.test/x:1')).toEqual(['wild.test/x:1'])
    expect(asked(conf(EXAMPLE), 'evil.test/a.wild.test/x:1')).toEqual(['evil.test/a.wild.test/x:1'])
  })

  it('puts a location in the place of host and port under a wildcard', () => {
    const settings = conf('[[registry]]\nprefix = "*.test"\nlocation = "cache.local:5000/all"')
    expect(asked(settings, 'a.b.test:444/x/y:1')).toEqual(['cache.local:5000/all/x/y:1'])
  })

  it('asks some mirrors for digests only, some for tags only', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    const settings = conf(`
      [[registry]]
      location = "r.test"
      [[registry.mirror]]
      location = "d.test"
      pull-from-mirror = "digest-only"
      [[registry.mirror]]
      location = "t.test"
      pull-from-mirror = "tag-only"`)
    expect(asked(settings, `r.test/x@${digest}`)).toEqual([`d.test/x@${digest}`, `r.test/x@${digest}`])
    expect(asked(settings, 'r.test/x:1')).toEqual(['t.test/x:1', 'r.test/x:1'])
    const byDigest = conf(
      '[[registry]]\nlocation = "r.test"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "d.test"',
    )
    expect(asked(byDigest, 'r.test/x:1')).toEqual(['r.test/x:1'])
    expect(asked(byDigest, `r.test/x@${digest}`)).toHaveLength(2)
  })

  it("rewrites Docker Hub's names by their complete form", () => {
    const settings = conf('[[registry]]\nprefix = "docker.io/library"\nlocation = "cache.local/hub"')
    expect(asked(settings, 'alpine')).toEqual(['cache.local/hub/alpine:latest'])
    expect(asked(settings, 'me/app')).toEqual(['docker.io/me/app:latest'])
  })

  it('lets a later file replace a rule, an alias and a list', () => {
    const settings = conf(
      '[[registry]]\nlocation = "r.test"\nblocked = true\n[aliases]\na = "r.test/a"\nb = "r.test/b"',
      'unqualified-search-registries = ["q.test"]\n[[registry]]\nlocation = "r.test"\n[aliases]\na = "s.test/a"\nb = ""',
    )
    expect(asked(settings, 'r.test/x:1')).toEqual(['r.test/x:1'])
    expect(pullNames('a:2', settings)).toEqual(['s.test/a:2'])
    expect(pullNames('b', settings)).toEqual(['q.test/b'])
  })

  const host = fc.stringMatching(/^[a-z]{1,3}(\.[a-z]{1,3}){0,2}\.test(:[1-9]\d{0,3})?$/)
  const path = fc.array(fc.stringMatching(/^[a-z0-9]{1,4}$/), { minLength: 1, maxLength: 3 })

  it('matches a prefix exactly where the name goes on with a new part', () => {
    fc.assert(
      fc.property(host, path, fc.nat(3), host, (registry, parts, depth, other) => {
        const name = `${registry}/${parts.join('/')}:1`
        const prefix = [registry, ...parts.slice(0, depth)].join('/')
        const settings = conf(`[[registry]]\nprefix = "${prefix}"\nlocation = "${other}/moved"`)
        expect(ruleFor(settings, name)?.prefix).toBe(prefix)
        expect(asked(settings, name)).toEqual([
          prefix === `${other}/moved` ? name : `${other}/moved${name.slice(prefix.length)}`,
        ])
        // One more character and it is another host, another path.
        expect(ruleFor(settings, name.replace(registry, `x${registry}`))).toBeUndefined()
        expect(ruleFor(conf(`[[registry]]\nprefix = "${prefix}z"\nlocation = "a.test"`), name)).toBeUndefined()
      }),
    )
  })
})

describe('a damaged registries.conf', () => {
  it.each([
    ['x = ', /line 1/],
    ['[registries.search]\nregistries = ["a.test"]', /version 1/],
    ['[[registry]]\ninsecure = true', /neither prefix nor location/],
    ['[[registry]]\nprefix = "*.a.test/x"', /HOST\[:PORT\]/],
    ['[[registry]]\nprefix = "a.*.test"', /HOST\[:PORT\]/],
    ['[[registry]]\nlocation = "nodot/x"', /nodot\/x/],
    ['[[registry]]\nlocation = "a.test"\nblocked = "yes"', /neither true nor false/],
    ['[[registry]]\nlocation = "a.test"\n[[registry]]\nlocation = "a.test"', /two tables for a.test/],
    ['unqualified-search-registries = "a.test"', /not a list of strings/],
    ['unqualified-search-registries = ["registry"]', /not HOST/],
    ['short-name-mode = "maybe"', /none of enforcing, permissive, disabled/],
    ['aliases = 1', /not a table/],
    [
      '[[registry]]\nlocation = "a.test"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "b.test"\npull-from-mirror = "all"',
      /excludes/,
    ],
  ])('is told in one line naming the file: %j', (text, reason) => {
    expect(() => conf(text)).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: expect.stringMatching(new RegExp(`^/etc/file-0.conf: [^\\n]*${reason.source}`)),
      }),
    )
  })
})

describe('short names', () => {
  it('are those of Docker Hub without a file', () => {
    expect(pullNames('alpine:3', conf())).toEqual(['docker.io/alpine:3'])
    expect(localNames('alpine:3', conf())).toEqual(['docker.io/alpine:3', 'localhost/alpine:3'])
  })

  it('are looked for where the file says, in its order', () => {
    const text = 'unqualified-search-registries = ["a.test", "b.test/team"]\n'
    const both = ['a.test/x/y:1', 'b.test/team/x/y:1']
    expect(pullNames('x/y:1', conf(text))).toEqual(both)
    expect(pullNames('x/y:1', conf(`${text}short-name-mode = "disabled"`))).toEqual(both)
    expect(() => pullNames('x', conf(`${text}short-name-mode = "enforcing"`))).toThrow(
      expect.objectContaining({ code: 'INVALID_REFERENCE', hint: expect.stringContaining('a.test/x') }),
    )
    expect(() => pullNames('x', conf('unqualified-search-registries = []'))).toThrow(
      expect.objectContaining({ code: 'INVALID_REFERENCE', hint: expect.stringContaining('docker.io/x') }),
    )
  })

  it('take their tag or digest to the alias', () => {
    const settings = conf('[aliases]\n"x" = "a.test/b/c"')
    const digest = `sha256:${'0'.repeat(64)}`
    expect(pullNames(`x@${digest}`, settings)).toEqual([`a.test/b/c@${digest}`])
    expect(localNames('x:1', settings)[0]).toBe('a.test/b/c:1')
  })

  it('are exactly the names to which parseReference adds a registry', () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,5}$/)
    const first = fc.oneof(word, fc.constantFrom('localhost', 'a.test', 'a:5000', 'HOST', 'docker.io'))
    fc.assert(
      fc.property(first, fc.array(word, { maxLength: 2 }), fc.constantFrom('', ':1'), (head, rest, tag) => {
        const name = [head, ...rest].join('/') + tag
        if (rest.length === 0 && head !== head.toLowerCase()) return
        if (rest.length === 0 && /[.:]/.test(head)) return
        const { registry } = parseReference(name)
        expect(isShortName(name)).toBe(!name.startsWith(`${registry}/`))
      }),
    )
  })

  it('need the parser only where a file speaks of them', () => {
    const env = { HOME: '/nonexistent', CONTAINERS_REGISTRIES_CONF: '/nonexistent/registries.conf' }
    expect(mayBeRenamed('host.test/x', env)).toBe(false)
    expect(mayBeRenamed('no-distribution-has-this-name', env)).toBe(false)
  })
})

describe('WWW-Authenticate of any kind', () => {
  it('never makes the reader fail, and is read back as it was written', () => {
    const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
    const value = fc.string({ unit: 'grapheme-ascii', maxLength: 20 })
    const challenge = fc.tuple(token, fc.dictionary(token, value, { maxKeys: 3, minKeys: 1 }))
    const written = (list: [string, Record<string, string>][]): string =>
      list
        .map(([scheme, parameters]) => {
          const texts = Object.entries(parameters).map(([key, text]) => `${key}="${text.replace(/["\\]/g, '\\$&')}"`)
          return `${scheme} ${texts.join(', ')}`
        })
        .join(', ')
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 3 }), (list) => {
        const read = parseChallenges(written(list)).map(({ scheme, parameters }) => [
          scheme,
          Object.fromEntries(parameters),
        ])
        expect(read).toEqual(list.map(([scheme, parameters]) => [scheme, { ...parameters }]))
      }),
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (header) => Array.isArray(parseChallenges(header))))
  })
})

describe('what a program says of registries', () => {
  it('counts as one more file, the last one', () => {
    const settings = parseRegistriesConf([
      { path: '/etc/file.conf', text: EXAMPLE },
      settingsFile({
        search: ['mine.test', 'docker.io'],
        aliases: { tool: 'mine.test/tools/tool' },
        registries: [
          { prefix: 'example.com/foo', location: 'here.test/foo' },
          {
            location: 'mine.test',
            insecure: true,
            mirrors: [{ location: 'near.test', insecure: true, use: 'digest-only' }, { location: 'far.test' }],
          },
        ],
      }),
    ])
    expect(settings.search).toEqual(['mine.test', 'docker.io'])
    expect(pullNames('tool:2', settings)).toEqual(['mine.test/tools/tool:2'])
    expect(asked(settings, 'example.com/foo/a:1')).toEqual(['here.test/foo/a:1'])
    expect(asked(settings, 'mine.test/a:1')).toEqual(['far.test/a:1', '!mine.test/a:1'])
    expect(asked(settings, 'plain.local:5000/a:1')).toEqual(['!plain.local:5000/a:1'])
  })

  it('is refused by name where it is not what it should be', () => {
    const bad =
      (settings: object): (() => unknown) =>
      () =>
        parseRegistriesConf([settingsFile(settings)])
    expect(bad({ search: ['not a host'] })).toThrow(
      /^createEngine\(\{ registries \}\): unqualified-search-registries: /,
    )
    expect(bad({ registries: [{ insecure: true }] })).toThrow(/registry: neither prefix nor location$/)
    expect(bad({ registries: [{ location: 'a.test', insecure: 'yes' }] })).toThrow(/insecure: neither true nor false$/)
    expect(settingsFile({}).text.trim()).toBe('')
  })
})
