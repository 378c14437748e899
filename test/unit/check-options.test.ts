import { describe, expect, it } from 'vitest'
import { checkCommand, checkOptions } from '../../src/engine/arguments/check-options.ts'
import { TscrunError } from '../../src/model/errors.ts'

type Verb = Parameters<typeof checkOptions>[0]

function refused(action: () => void): string {
  try {
    action()
  } catch (error) {
    if (!(error instanceof TscrunError) || error.code !== 'USAGE') throw error
    return error.hint === undefined ? error.message : `${error.message} (${error.hint})`
  }
  return 'nothing'
}

describe('an option of a program', () => {
  it.each<[Verb, unknown, string]>([
    ['run', { memory: '64m' }, 'option memory: "64m" is not a number'],
    ['run', { cpus: NaN }, 'option cpus: NaN is not a number'],
    ['run', { env: { A: '1' } }, 'option env: an object is not a list'],
    ['run', { env: ['A=1', 2] }, 'option env[1]: 2 is not a string'],
    ['run', { env: ['A=\0'] }, 'option env[0]: it has a NUL byte'],
    ['run', { user: 0 }, 'option user: 0 is not a string'],
    ['run', { entrypoint: 'sh' }, 'option entrypoint: "sh" is not a list'],
    ['run', { labels: { a: 1 } }, 'option labels.a: 1 is not a string'],
    ['run', { readOnly: 'yes' }, 'option readOnly: "yes" is not true or false'],
    ['run', { readonly: true }, 'option readonly: there is none of this name (did you mean readOnly?)'],
    ['run', { timeout: 5 }, 'option timeout: there is none of this name (did you mean timeoutMs?)'],
    ['run', { constructor: 5 }, 'option constructor: there is none of this name'],
    ['run', { timeoutMs: '5' }, 'option timeoutMs: "5" is not a number of milliseconds of 0 or more'],
    ['run', { timeoutMs: Infinity }, 'option timeoutMs: Infinity is not a number of milliseconds of 0 or more'],
    ['run', { maxBuffer: '1' }, 'option maxBuffer: "1" is not a number of bytes'],
    ['run', { input: 42 }, 'option input: 42 is not a string, bytes or a Readable'],
    ['run', { input: null }, 'option input: null is not a string, bytes or a Readable'],
    ['run', { signal: {} }, 'option signal: an object is not an AbortSignal'],
    ['run', { onWarning: 5 }, 'option onWarning: 5 is not a function'],
    ['run', { volumes: ['/a:/b'] }, 'option volumes[0]: "/a:/b" is not an object'],
    ['run', { volumes: [{ source: '/a' }] }, 'option volumes[0].target: it is missing'],
    ['run', { network: 'nonne' }, 'option network: "nonne" is not none, host or bridge'],
    ['run', { network: {} }, 'option network: an object is not one with just one of path, container, networks, cni'],
    ['run', { network: { networks: [{}] } }, 'option network.networks[0].name: it is missing'],
    ['run', { namespaces: { pid: 'hosts' } }, 'option namespaces.pid: "hosts" is not new or host'],
    ['run', { ports: [{ containerPort: 80 }] }, 'option ports[0].protocol: it is missing'],
    ['run', { restart: {} }, 'option restart: there is none of this name'],
    ['background', { restart: 'always' }, 'option restart: "always" is not an object'],
    ['background', { health: true }, 'option health: true is not false'],
    ['exec', { tty: true }, 'option tty: there is none of this name'],
    ['engine', { rootDir: '/srv' }, 'option rootDir: there is none of this name'],
    ['run', null, 'options: null is not an object'],
  ])('%s %j is refused in words', (verb, options, words) => {
    expect(refused(() => checkOptions(verb, options))).toBe(words)
  })

  it('may be undefined, also one of another name, and a stream or signal of another library', () => {
    const signal = { aborted: false, throwIfAborted: () => undefined }
    const input = { pipe: () => undefined, on: () => undefined }
    const network = { path: '/proc/1/ns/net', container: undefined }
    const options = { memory: undefined, other: undefined, signal, input, network, maxBuffer: Infinity }
    expect(() => checkOptions('run', options)).not.toThrow()
    const background = { health: false, restart: { name: 'on-failure', most: 3 } }
    expect(() => checkOptions('background', background)).not.toThrow()
  })

  it('stands behind an image and a list of words', () => {
    expect(refused(() => checkCommand(undefined, 'echo hi'))).toMatch(/^arguments: "echo hi" is not a list/)
    expect(refused(() => checkCommand(undefined, ['a', 1]))).toBe('argument 1: 1 is not a string')
    expect(refused(() => checkCommand(undefined, ['a\0']))).toBe('argument 0: it has a NUL byte')
    expect(refused(() => checkCommand(5, []))).toMatch(/^image: 5 is not a string/)
    checkCommand('alpine', ['id'])
  })
})
