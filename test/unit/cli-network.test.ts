import { describe, expect, it } from 'vitest'
import { flagValues } from '../../src/cli/command.ts'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { parseRun } from '../../src/cli/parse/run.ts'
import { normaliseArgv } from '../../src/cli/pflag.ts'
import type { RunOptions } from '../../src/model/run-options.ts'

function options(line: string): RunOptions {
  const normalised = normaliseArgv([...line.split(' '), 'img'], RUN_FLAGS, { interspersed: false })
  if (!normalised.ok) throw new Error(normalised.problem.kind)
  const values = new Map<string, string[]>()
  for (const { flag, value } of normalised.occurrences) {
    values.set(flag.name, [...(values.get(flag.name) ?? []), ...(flag.split ? value.split(',') : [value])])
  }
  const caller = { env: {}, cwd: '/', readFile: () => Buffer.of() }
  return parseRun(flagValues(values), normalised.operands, caller).options
}

const DEFAULT = { networks: [{ name: 'bridge' }] }

describe('what run says of networks', () => {
  it.each<[string, object]>([
    ['--network bridge', { network: DEFAULT }],
    ['--network default', { network: DEFAULT }],
    [
      '--network a:ip=10.0.0.3,alias=db,alias=sql,b --network name=c,mac-address=0A:00:00:00:00:01 --network-alias all',
      {
        network: {
          networks: [
            { name: 'a', ip: '10.0.0.3', aliases: ['all', 'db', 'sql'] },
            { name: 'b', aliases: ['all'] },
            { name: 'c', mac: '0a:00:00:00:00:01', aliases: ['all'] },
          ],
        },
      },
    ],
    ['--network a,b --network a', { network: { networks: [{ name: 'a' }, { name: 'b' }] } }],
    ['-p 8080:80', { ports: [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }], network: DEFAULT }],
    ['-p 80', { ports: [{ protocol: 'tcp', hostPort: 0, containerPort: 80 }], network: DEFAULT }],
    [
      '-p 127.0.0.1::80',
      { ports: [{ protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 0, containerPort: 80 }], network: DEFAULT },
    ],
    [
      '--network a -p [::1]:53:53/udp -p 81-82:1-2',
      {
        ports: [
          { protocol: 'udp', hostIp: '::1', hostPort: 53, containerPort: 53 },
          { protocol: 'tcp', hostPort: 81, containerPort: 1 },
          { protocol: 'tcp', hostPort: 82, containerPort: 2 },
        ],
        network: { networks: [{ name: 'a' }] },
      },
    ],
    [
      '--network a --ip 10.0.0.3 --mac-address 0A:00:00:00:00:01 --network-alias db',
      { network: { networks: [{ name: 'a', ip: '10.0.0.3', mac: '0a:00:00:00:00:01', aliases: ['db'] }] } },
    ],
  ])('is understood: %s', (line, expected) => {
    expect(options(line)).toEqual(expected)
  })

  it.each([
    ['--network host,bridge', '--network bridge: it does not go together with host'],
    ['--network none -p 80', '--publish 80: --network none gives it no network of its own'],
    ['--network a,b --ip 10.0.0.3', '--network a,b: an address is for one network'],
    ['--network a:color=red', '--network color=red: unknown option'],
    ['--network ip=10.0.0.3', '--network ip=10.0.0.3: no network is named before it'],
    ['--network a:alias=-x', '--network -x: not a name'],
    ['--mac-address 01:00:00:00:00:01', '--mac-address 01:00:00:00:00:01: not a unicast MAC address'],
    ['-p x', '--publish x: not a whole number'],
    ['-p 80:81-82', '--publish 80:81-82: the two ranges differ in length'],
    ['-p 9-8:9-8', '--publish 9-8:9-8: the range ends before it begins'],
    ['-p 80/ip', '--publish 80/ip: "ip" is no protocol'],
    ['-p 1.2.3:80:80', '--publish 1.2.3:80:80: "1.2.3" is no address of the host'],
    ['-p 70000:80', '--publish 70000:80: "70000" is out of range'],
    ['-p 1:2:3:4', '--publish 1:2:3:4: not a port'],
  ])('is refused: %s', (line, message) => {
    expect(() => options(line)).toThrow(message)
  })
})
