import { describe, expect, it } from 'vitest'
import { hostsFile, resolvConf } from '../../src/spec/network-files.ts'

const HOST =
  '# made by hand\nnameserver 10.0.0.2\nnameserver\t10.0.0.3\nsearch example.org example.net\noptions ndots:2 edns0\n'

describe('/etc/resolv.conf', () => {
  it("is the host's servers, domains and options", () => {
    expect(resolvConf(HOST, {}, true)).toBe(
      'nameserver 10.0.0.2\nnameserver 10.0.0.3\nsearch example.org example.net\noptions ndots:2 edns0\n',
    )
  })

  it('replaces what is given, each part by itself', () => {
    expect(resolvConf(HOST, { servers: ['9.9.9.9'] }, true)).toBe(
      'nameserver 9.9.9.9\nsearch example.org example.net\noptions ndots:2 edns0\n',
    )
    expect(resolvConf(HOST, { search: ['a.b'], options: ['rotate'] }, true)).toBe(
      'nameserver 10.0.0.2\nnameserver 10.0.0.3\nsearch a.b\noptions rotate\n',
    )
    expect(resolvConf(HOST, { servers: [], search: [], options: [] }, true)).toBe(resolvConf(HOST, {}, true))
  })

  it('has no search line for --dns-search .', () => {
    expect(resolvConf(HOST, { search: ['.'] }, true)).not.toContain('search')
  })

  it.each(['127.0.0.53', '127.0.0.1', '::1'])(
    'does not name the loopback resolver %s in a network of its own',
    (server) => {
      expect(resolvConf(`nameserver ${server}\nnameserver 10.0.0.2\n`, {}, true)).toBe('nameserver 10.0.0.2\n')
      expect(resolvConf(`nameserver ${server}\n`, {}, true)).toBe('nameserver 8.8.8.8\nnameserver 8.8.4.4\n')
      expect(resolvConf(`nameserver ${server}\n`, {}, false)).toBe(`nameserver ${server}\n`)
    },
  )

  it('comes out of an empty file', () => {
    expect(resolvConf('', {}, true)).toBe('nameserver 8.8.8.8\nnameserver 8.8.4.4\n')
  })

  it('is not confused by words that begin like a keyword', () => {
    expect(resolvConf('nameservers 1.1.1.1\nsearching x\n', { servers: ['2.2.2.2'] }, true)).toBe(
      'nameserver 2.2.2.2\n',
    )
  })
})

describe('/etc/hosts', () => {
  it('names itself and localhost in a network of its own', () => {
    expect(hostsFile({ names: ['web', 'calm_harbor'], addresses: [] }, [], true, 'never seen')).toBe(
      '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 web calm_harbor\n',
    )
  })

  it("is the host's in the host's network", () => {
    expect(
      hostsFile({ names: ['web'], addresses: [] }, ['db:10.0.0.7'], false, '127.0.0.1 localhost\n10.0.0.1 me\n\n'),
    ).toBe('127.0.0.1 localhost\n10.0.0.1 me\n10.0.0.7 db\n')
  })

  it('takes IPv6 addresses', () => {
    expect(hostsFile({ names: [], addresses: [] }, ['six:fd00::1'], true, '')).toContain('\nfd00::1 six\n')
  })
})
