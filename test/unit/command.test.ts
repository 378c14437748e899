import { describe, expect, it } from 'vitest'
import { commandOf, environmentOf } from '../../src/spec/command.ts'

describe('what is run', () => {
  const image = { entrypoint: ['/entry', '-e'], cmd: ['default'] }
  it.each<[string, readonly string[], readonly string[] | undefined, readonly string[]]>([
    ['the image alone', [], undefined, ['/entry', '-e', 'default']],
    ['arguments for the cmd', ['a', 'b'], undefined, ['/entry', '-e', 'a', 'b']],
    ['an entrypoint of the user drops the cmd', [], ['sh'], ['sh']],
    ['an entrypoint with words and arguments', ['a'], ['sh', '-c'], ['sh', '-c', 'a']],
    ['no entrypoint', ['ls'], [], ['ls']],
    ["an empty entrypoint, as --entrypoint ''", ['ls'], [''], ['ls']],
  ])('%s', (_, args, entrypoint, expected) => {
    expect(commandOf(image, args, entrypoint)).toEqual(expected)
  })

  it('must be something', () => {
    expect(() => commandOf({ entrypoint: [], cmd: [] }, [], undefined)).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    )
    expect(() => commandOf(image, [], [])).toThrow(/no command/)
  })
})

describe('the environment', () => {
  const base = { image: [], options: {}, hostname: 'box', home: '/root', terminal: false }

  it('has PATH, HOSTNAME, HOME, and TERM with a terminal', () => {
    expect(environmentOf(base)).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOSTNAME=box',
      'HOME=/root',
    ])
    expect(environmentOf({ ...base, terminal: true })).toContain('TERM=xterm')
  })

  it('takes the image over the defaults and the user over the image, each name once', () => {
    const env = environmentOf({
      ...base,
      image: ['PATH=/image', 'A=image', 'HOME=/h'],
      options: { env: ['A=user', 'A=last', 'B='] },
    })
    expect(env).toEqual(['PATH=/image', 'HOSTNAME=box', 'A=last', 'HOME=/h', 'B='])
  })

  it('cuts at the first =', () => {
    expect(environmentOf({ ...base, options: { env: ['A=b=c'] } })).toContain('A=b=c')
  })

  it.each(['/a:b', '/a\nb', '/a\0b'])('gives no HOME from passwd that would break a line or a field: %j', (home) => {
    expect(environmentOf({ ...base, home }).some((entry) => entry.startsWith('HOME='))).toBe(false)
  })
})
