import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import { cniErrorWords, cniInput, parseCniResult } from '../../src/network/cni/call.ts'
import { executionConfig, parseCniNetwork, unheardCapabilities } from '../../src/network/cni/configuration.ts'

const FILE = '/etc/cni/net.d/10-web.conflist'
const parse = (json: unknown): ReturnType<typeof parseCniNetwork> => parseCniNetwork(JSON.stringify(json), FILE)
const LIST = {
  cniVersion: '1.0.0',
  name: 'web',
  plugins: [{ type: 'bridge', capabilities: { ips: true, mac: false } }],
}

describe('a network configuration list', () => {
  it('is told to a plugin with its name and version, and the capabilities it declares', () => {
    const network = parse({ ...LIST, plugins: [{ type: 'bridge', mtu: 1400, capabilities: { ips: true } }] })
    const [plugin] = network.plugins
    if (plugin === undefined) throw new Error('no plugin')
    expect(JSON.parse(executionConfig(network, plugin, { ips: ['10.0.0.2'], mac: '0a:00:00:00:00:01' }))).toEqual({
      type: 'bridge',
      mtu: 1400,
      cniVersion: '1.0.0',
      name: 'web',
      runtimeConfig: { ips: ['10.0.0.2'] },
    })
    expect(unheardCapabilities(network, { ips: [], mac: '0a:00:00:00:00:01' })).toEqual(['mac'])
  })

  it('may be the configuration of a single plugin', () => {
    expect(parse({ cniVersion: '0.4.0', name: 'one', type: 'ptp' }).plugins.map(({ type }) => type)).toEqual(['ptp'])
  })

  it.each([
    ['no JSON', '{', 'CNI configuration'],
    ['a list', '[]', 'no JSON object'],
    ['a name that is a path', { ...LIST, name: '../web' }, 'name: "../web"'],
    ['a plugin that is a path', { ...LIST, plugins: [{ type: '../../bin/sh' }] }, 'plugins[0].type: "../../bin/sh"'],
    ['a plugin that is a flag', { ...LIST, plugins: [{ type: '-c' }] }, 'plugins[0].type'],
    ['no plugin', { ...LIST, plugins: [] }, '0 of them'],
    ['plugins without end', { ...LIST, plugins: Array.from({ length: 33 }, () => ({ type: 'bridge' })) }, '33 of them'],
    ['a version of another time', { ...LIST, cniVersion: '0.2.0' }, 'cniVersion: "0.2.0"'],
    ['capabilities that are none', { ...LIST, plugins: [{ type: 'bridge', capabilities: ['ips'] }] }, 'capabilities'],
  ])('%s is refused by the file and the key', (_name, text, reason) => {
    const read = (): unknown => parseCniNetwork(typeof text === 'string' ? text : JSON.stringify(text), FILE)
    expect(read).toThrow(TscrunError)
    expect(read).toThrow(FILE)
    expect(read).toThrow(reason)
  })

  it('is read or refused, whatever stands there', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (plugins, name) => {
        try {
          parse({ ...LIST, plugins, name })
        } catch (error) {
          expect(error).toBeInstanceOf(TscrunError)
        }
      }),
    )
  })
})

describe('what passes between plugins', () => {
  it('is the result before, as it was printed', () => {
    const call = { type: 'portmap', program: '/x/portmap', config: '{"name":"web"}' }
    expect(cniInput(call, undefined)).toBe('{"name":"web"}')
    expect(cniInput(call, '{"ips": []}')).toBe('{"name":"web","prevResult":{"ips": []}}')
  })

  it('a result without anything is one', () => {
    expect(parseCniResult('{}')).toEqual({ cniVersion: 'undefined', interfaces: [], ips: [], routes: [], dns: {} })
  })

  it('an error is one line without control characters', () => {
    expect(cniErrorWords('{"msg":"no \\u001b[31mmore","details":"a\\nb"}')).toBe('no  [31mmore: a b')
    expect(cniErrorWords('{"code":7}')).toBe('{"code":7}')
    expect(cniErrorWords('panic\nexit\u0007\n')).toBe('exit')
  })
})
