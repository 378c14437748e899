import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { unixSockets } from '../../src/cgroups/systemd/address.ts'
import { openSystemd } from '../../src/cgroups/systemd/open.ts'
import {
  cgroupOfUnit,
  escapeUnitName,
  expandSlice,
  parseSystemdCgroupsPath,
  unitName,
  unitObjectPath,
} from '../../src/cgroups/systemd/place.ts'
import { TscrunError } from '../../src/model/errors.ts'

describe('linux.cgroupsPath in the form of systemd', () => {
  it.each([
    ['system.slice:runc:web', 'system.slice', 'runc-web.scope', '/system.slice/runc-web.scope'],
    ['machine.slice:libpod:0f3a', 'machine.slice', 'libpod-0f3a.scope', '/machine.slice/libpod-0f3a.scope'],
    [':cri-containerd:ab', 'system.slice', 'cri-containerd-ab.scope', '/system.slice/cri-containerd-ab.scope'],
    ['-.slice:a:b', '-.slice', 'a-b.scope', '/a-b.scope'],
    ['-:a:b', '-.slice', 'a-b.scope', '/a-b.scope'],
    ['a-b-c.slice:p:n', 'a-b-c.slice', 'p-n.scope', '/a.slice/a-b.slice/a-b-c.slice/p-n.scope'],
    ['user.slice::n', 'user.slice', '-n.scope', '/user.slice/-n.scope'],
    ['system.slice:p:pod-x.slice', 'system.slice', 'pod-x.slice', '/pod.slice/pod-x.slice'],
    ['a_1.b\\x2dc.slice:p:n\\x40', 'a_1.b\\x2dc.slice', 'p-n\\x40.scope', '/a_1.b\\x2dc.slice/p-n\\x40.scope'],
  ])('%s is slice %s, unit %s and cgroup %s', (path, slice, unit, cgroup) => {
    const place = parseSystemdCgroupsPath(path)
    expect([place.slice, unitName(place), cgroupOfUnit(place)]).toEqual([slice, unit, cgroup])
  })

  it('that is empty is named after the container, escaped where a unit may not be called so', () => {
    expect(unitName(parseSystemdCgroupsPath('', 'web'))).toBe('tscrun-web.scope')
    expect(unitName(parseSystemdCgroupsPath('', 'a+b@c'))).toBe('tscrun-a\\x2bb\\x40c.scope')
    expect(() => parseSystemdCgroupsPath('')).toThrow(/slice:prefix:name/)
  })

  it.each([
    '/system.slice/web',
    'a:b',
    'a.slice:b:c:d',
    'system.slice:p:',
    'system:p:n',
    '/a.slice:p:n',
    'a//b.slice:p:n',
    '-a.slice:p:n',
    'a--b.slice:p:n',
    'a-.slice:p:n',
    '.slice:p:n',
    'a.slice:p:x/../y',
    'a.slice:p q:n',
    "a.slice:p':n",
    'a.slice:p:n\n',
    'a.slice:p:-n.slice',
    `a.slice:p:${'n'.repeat(250)}`,
  ])('%j is refused in one line', (path) => {
    const failure = attempt(() => parseSystemdCgroupsPath(path, 'id'))
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG', subject: 'linux.cgroupsPath' })
    expect((failure as TscrunError).message).not.toContain('\n')
  })

  it.each(['a', 'a/b.slice', '..slice-', '/.slice', 'x.scope'])('%j is no slice', (slice) => {
    expect(() => expandSlice(slice)).toThrow(TscrunError)
  })

  it('never leads out of the hierarchy', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'a-./:\\\0 ') }), (path) => {
        const place = attempt(() => parseSystemdCgroupsPath(path))
        if (place instanceof TscrunError) return
        const parts = cgroupOfUnit(place as ReturnType<typeof parseSystemdCgroupsPath>).split('/')
        expect(parts[0]).toBe('')
        for (const part of parts.slice(1)) expect(part).toMatch(/^[^/]+\.(slice|scope)$/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('names', () => {
  it('are escaped byte by byte', () => {
    expect(escapeUnitName('ä b-c_d.e:f\\')).toBe('\\xc3\\xa4\\x20b-c_d.e:f\\x5c')
  })

  it('of units become objects on the bus', () => {
    expect(unitObjectPath('tscrun-web.scope')).toBe('/org/freedesktop/systemd1/unit/tscrun_2dweb_2escope')
    expect(unitObjectPath('1a.scope')).toBe('/org/freedesktop/systemd1/unit/_31a_2escope')
  })
})

describe('addresses', () => {
  it.each([
    ['unix:path=/run/dbus/system_bus_socket', ['/run/dbus/system_bus_socket']],
    ['unix:abstract=/tmp/x,guid=ab', ['\0/tmp/x']],
    ['tcp:host=a,port=1;unix:path=/a%20b%2c;unix:path=/c', ['/a b,', '/c']],
    ['unix:path=/%c3%a4', ['/ä']],
  ])('%s is the sockets %o', (address, sockets) => {
    expect(unixSockets(address)).toEqual(sockets)
  })

  it.each(['', 'tcp:host=a,port=1', 'unix:dir=/tmp', '/run/x', 'unix:path', 'unix:path=/%2', 'unix:=a'])(
    '%j has none',
    (address) => {
      expect(() => unixSockets(address)).toThrow(TscrunError)
    },
  )
})

describe('without systemd', () => {
  it.each(['absent', 'file'])('openSystemd says so in one line (%s)', async (name) => {
    const directory = mkdtempSync(join(tmpdir(), 'tscrun-booted-'))
    try {
      writeFileSync(join(directory, 'file'), '')
      await expect(openSystemd({ booted: join(directory, name) })).rejects.toMatchObject({
        code: 'HOST_UNSUPPORTED',
        exitCode: 125,
        message: `--systemd-cgroup: systemd is not running here (no ${join(directory, name)})`,
        hint: 'leave --systemd-cgroup out',
      })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

function attempt(action: () => unknown): unknown {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return error
  }
}
