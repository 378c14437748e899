import { describe, expect, it } from 'vitest'
import { parseMount, parseVolume, parseVolumesFrom } from '../../src/cli/parse/mounts.ts'
import { parseVolumeFilter } from '../../src/cli/parse/volume-filter.ts'
import type { TscrunError } from '../../src/model/errors.ts'
import { kindOf } from '../../src/engine/volumes/options.ts'

const volume = (text: string): object => parseVolume(text, '/home/me').mount
const mount = (text: string): object => {
  const parsed = parseMount(text, '/home/me')
  return 'volume' in parsed ? parsed.volume.mount : parsed.tmpfs
}

function messageOf(action: () => unknown): string {
  try {
    return `no error: ${JSON.stringify(action())}`
  } catch (error) {
    return (error as TscrunError).message
  }
}

describe('a volume of the store', () => {
  it.each([
    ['data:/b', { volume: 'data', target: '/b' }],
    ['/b', { target: '/b' }],
    ['data:/b:ro,nocopy,U', { volume: 'data', target: '/b', readonly: true, nocopy: true, chown: true }],
    ['./data:/b:nocopy', { source: '/home/me/data', target: '/b', createSource: true }],
  ])('is -v %s', (text, expected) => expect(volume(text)).toEqual(expected))

  it.each([
    ['dst=/b', { target: '/b' }],
    ['src=,dst=/b', { target: '/b' }],
    ['type=volume,src=d,dst=/b,volume-nocopy,ro', { volume: 'd', target: '/b', nocopy: true, readonly: true }],
    ['src=d,dst=/b,volume-label=a=b,volume-driver=local', { volume: 'd', target: '/b', labels: { a: 'b' } }],
    [
      'dst=/b,"volume-opt=o=size=1m,mode=700",volume-opt=type=tmpfs',
      { target: '/b', options: { o: 'size=1m,mode=700', type: 'tmpfs' } },
    ],
  ])('is --mount %s', (text, expected) => expect(mount(text)).toEqual(expected))

  it.each([
    ['da,ta:/b', '--volume da,ta:/b: "da,ta" is no name of a volume'],
    ['..data:/b', '--volume ..data:/b: "..data" is no name of a volume'],
    ['data', '--volume data: not SRC:DST[:OPTIONS]'],
    ['data:/b:rbind', '--volume data:/b:rbind: unknown option "rbind"'],
  ])('is not -v %s', (text, message) => expect(messageOf(() => volume(text))).toBe(message))

  it.each([
    ['src=a', 'dst= is missing'],
    ['src=a,dst=/b,volume-subpath=x', 'volume-subpath is not supported yet'],
    ['src=/a,dst=/b', '"/a" is no name of a volume'],
    ['src=a,dst=/b,volume-driver=nfs', 'volume driver nfs: there is only local'],
    ['src=a,dst=/b,bind-propagation=shared', 'unknown field bind-propagation=shared'],
    ['type=image,src=a,dst=/b', 'type image is not supported yet'],
  ])('is not --mount %s', (text, message) => expect(messageOf(() => mount(text))).toBe(`--mount ${text}: ${message}`))
})

describe('other mounts', () => {
  it.each([
    ['type=bind,src=/a,dst=/b,bind-recursive=disabled', { source: '/a', target: '/b', recursive: false }],
    [
      'type=bind,src=/a,dst=/b,ro,bind-recursive=readonly',
      { source: '/a', target: '/b', readonly: true, recursive: true },
    ],
    [
      'type=bind,src=a,dst=/b,U,bind-create-src',
      { source: '/home/me/a', target: '/b', chown: true, createSource: true },
    ],
    ['type=tmpfs,dst=/b,tmpfs-size=64m,tmpfs-mode=1770,ro', { target: '/b', options: ['size=64m', 'mode=1770', 'ro'] }],
  ])('--mount %s', (text, expected) => expect(mount(text)).toEqual(expected))

  it('bind-recursive=writable is refused: what is read-only is so with all below it', () => {
    expect(messageOf(() => mount('type=bind,src=/a,dst=/b,ro,bind-recursive=writable'))).toMatch(/not supported$/)
  })

  it('--volumes-from takes a container, and ro for all of its mounts', () => {
    expect(['web', 'web:ro', 'web:rw,z'].map(parseVolumesFrom)).toEqual([
      { container: 'web' },
      { container: 'web', readonly: true },
      { container: 'web', readonly: false },
    ])
    expect(messageOf(() => parseVolumesFrom(':ro'))).toBe('--volumes-from :ro: not CONTAINER[:ro]')
  })
})

describe('filters of volumes', () => {
  it('are alternatives of one key, except labels', () => {
    const words = [
      'name=a',
      'name=b',
      'label=x',
      'label!=y=1',
      'dangling=true',
      'anonymous=0',
      'until=10m',
      'driver=local',
    ]
    expect(parseVolumeFilter(words, 1_000_000)).toEqual({
      name: ['a', 'b'],
      label: ['x'],
      withoutLabel: ['y=1'],
      dangling: true,
      anonymous: false,
      untilMs: 400_000,
      driver: ['local'],
    })
  })

  it.each(['name', 'size=1', 'dangling=perhaps', 'until=never'])('are not %s', (text) => {
    expect(messageOf(() => parseVolumeFilter([text], 0))).toMatch(
      new RegExp(`^--filter ${text.replace(/^until=/, '(?:until=)?')}: `),
    )
  })
})

describe("the words of docker's local driver", () => {
  it.each<[object, object]>([
    [{}, { kind: 'store' }],
    [
      { type: 'tmpfs', device: 'tmpfs', o: 'size=10m,noexec' },
      { kind: 'tmpfs', options: ['size=10m', 'noexec'] },
    ],
    [
      { type: 'none', o: 'bind,ro,nosuid', device: '/a' },
      { kind: 'bind', device: '/a', readonly: true, flags: ['nosuid'] },
    ],
  ])('%j', (options, kind) => expect(kindOf(options as Record<string, string>)).toEqual(kind))

  it.each([
    [{ type: 'nfs', o: 'addr=1.2.3.4' }, /^volume option type=nfs: /],
    [{ o: 'bind', device: 'relative' }, /device=relative: must be an absolute path/],
    [{ device: '/dev/sdb' }, /needs type=none and o=bind/],
    [{ type: 'tmpfs', o: 'size=1m,context=x' }, /o=context=x: not an option of a tmpfs/],
    [{ o: 'uid=1' }, /o=uid=1: needs a type/],
  ])('not %j', (options, message) => expect(messageOf(() => kindOf(options))).toMatch(message))
})
