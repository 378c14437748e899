import { describe, expect, it } from 'vitest'
import { exposedPorts, publishAll } from '../../src/engine/networks/exposed.ts'
import { parseExposed } from '../../src/model/port.ts'

describe('ports that are exposed', () => {
  it.each([
    ['80', { protocol: 'tcp', first: 80, last: 80 }],
    ['53/UDP', { protocol: 'udp', first: 53, last: 53 }],
    ['8000-8010/sctp', { protocol: 'sctp', first: 8000, last: 8010 }],
    ...['', '0', '65536', '80-70', '80/icmp', '80/tcp/udp', 'http', '1-99999', '-80', '80 '].map(
      (text) => [text, undefined] as const,
    ),
  ] as const)('%j: %j', (text, expected) => {
    expect(parseExposed(text)).toEqual(expected)
  })

  it('are those of the image and of the command line, each once; what an image has that is none is passed over', () => {
    expect(exposedPorts(['80/tcp', 'nonsense', '53/udp'], { expose: ['80', '9-10'] })).toEqual([
      '80/tcp',
      '53/udp',
      '9-10/tcp',
    ])
  })

  it('are published one by one where they are not published already', () => {
    const ports = [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }] as const
    expect(publishAll(['80', '80/udp', '9-10'], { ports })).toEqual([
      ...ports,
      { protocol: 'udp', hostPort: 0, containerPort: 80 },
      { protocol: 'tcp', hostPort: 0, containerPort: 9 },
      { protocol: 'tcp', hostPort: 0, containerPort: 10 },
    ])
    expect(() => publishAll(['1-65535'], {})).toThrow('--publish-all: 65535 ports are exposed')
  })
})
