import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import { changeImageConfig, type ImageConfigObject } from '../../src/spec/image-change.ts'

const from: ImageConfigObject = { Cmd: ['old'], Env: ['A=1', 'B=2'], WorkingDir: '/srv', Labels: { one: '1' } }

describe('--change', () => {
  it.each<[string, object]>([
    ['CMD ["a", "b c"]', { Cmd: ['a', 'b c'] }],
    ['CMD a "b c"', { Cmd: ['/bin/sh', '-c', 'a "b c"'] }],
    ['cmd=sh', { Cmd: ['/bin/sh', '-c', 'sh'] }],
    ['ENTRYPOINT ["x"]', { Entrypoint: ['x'], Cmd: undefined }],
    ['ENV A=two C="three four" D=\\"x', { Env: ['A=two', 'B=2', 'C=three four', 'D="x'] }],
    ['ENV A one value', { Env: ['A=one value', 'B=2'] }],
    ['LABEL two=2 "three"=3', { Labels: { one: '1', two: '2', three: '3' } }],
    ['EXPOSE 80 53/udp', { ExposedPorts: { '80/tcp': {}, '53/udp': {} } }],
    ['VOLUME ["/a b", "/c"]', { Volumes: { '/a b': {}, '/c': {} } }],
    ['VOLUME /a /b', { Volumes: { '/a': {}, '/b': {} } }],
    ['USER 1000:1000', { User: '1000:1000' }],
    ['WORKDIR sub', { WorkingDir: '/srv/sub' }],
    ['WORKDIR /abs', { WorkingDir: '/abs' }],
    ['STOPSIGNAL SIGINT', { StopSignal: 'SIGINT' }],
    ['ONBUILD RUN x', { OnBuild: ['RUN x'] }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=1m30s --retries=3 CMD ["ok"]',
      { Healthcheck: { Test: ['CMD', 'ok'], Interval: 90e9, Retries: 3 } },
    ],
    ['HEALTHCHECK CMD curl x', { Healthcheck: { Test: ['CMD-SHELL', 'curl x'] } }],
  ])('%s', (text, expected) => {
    const changed = changeImageConfig(from, text)
    for (const [key, value] of Object.entries(expected)) expect(changed[key]).toEqual(value)
    expect(from).toEqual({ Cmd: ['old'], Env: ['A=1', 'B=2'], WorkingDir: '/srv', Labels: { one: '1' } })
  })

  it('refuses what is no instruction with one line, whatever it is', () => {
    for (const text of [
      '',
      'RUN x',
      'COPY a b',
      'ENV',
      'ENV =x',
      'EXPOSE web',
      'HEALTHCHECK --x=1 CMD y',
      '__proto__ x',
    ]) {
      expect(() => changeImageConfig(from, text), text).toThrow(/^--change /)
    }
    fc.assert(
      fc.property(
        fc.constantFrom('CMD', 'ENV', 'LABEL', 'EXPOSE', 'VOLUME', 'HEALTHCHECK', ''),
        fc.string(),
        (word, rest) => {
          try {
            changeImageConfig(from, `${word} ${rest}`)
          } catch (error) {
            if (!(error instanceof TscrunError && error.code === 'USAGE')) throw error
          }
        },
      ),
    )
  })
})
