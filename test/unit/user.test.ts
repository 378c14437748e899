import { describe, expect, it } from 'vitest'
import { resolveUser } from '../../src/rootfs/user.ts'

const PASSWD =
  'root:x:0:0:root:/root:/bin/sh\n# no entry\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n1500:x:2500:2500::/digits:\nbroken:x:abc:0::/:\nshort:x\nhigh:x:2147483648:0::/:\nrelative:x:7:7::home:\nalice:x:1:1:second:/:\n'
const GROUP = 'root:x:0:\nwheel:x:10:root,alice\nalice:x:1001:\naudio:x:29:bob,alice\n77:x:88:\nbroken:x:abc:alice\n'

describe('--user', () => {
  it.each([
    ['', { uid: 0, gid: 0, additionalGids: [10], home: '/root' }],
    ['root', { uid: 0, gid: 0, additionalGids: [10], home: '/root' }],
    ['alice', { uid: 1000, gid: 1001, additionalGids: [10, 29], home: '/home/alice' }],
    ['1000', { uid: 1000, gid: 1001, additionalGids: [10, 29], home: '/home/alice' }],
    ['alice:audio', { uid: 1000, gid: 29, additionalGids: [], home: '/home/alice' }],
    ['alice:5', { uid: 1000, gid: 5, additionalGids: [], home: '/home/alice' }],
    ['1000:wheel', { uid: 1000, gid: 10, additionalGids: [], home: '/home/alice' }],
    ['4711', { uid: 4711, gid: 0, additionalGids: [], home: '/' }],
    ['4711:4712', { uid: 4711, gid: 4712, additionalGids: [], home: '/' }],
    [':audio', { uid: 0, gid: 29, additionalGids: [], home: '/root' }],
    ['alice:', { uid: 1000, gid: 1001, additionalGids: [], home: '/home/alice' }],
    ['1500', { uid: 1500, gid: 0, additionalGids: [], home: '/' }],
    ['0:77', { uid: 0, gid: 77, additionalGids: [], home: '/root' }],
    ['relative', { uid: 7, gid: 7, additionalGids: [], home: '/' }],
    ['2147483647', { uid: 2147483647, gid: 0, additionalGids: [], home: '/' }],
    ['000', { uid: 0, gid: 0, additionalGids: [10], home: '/root' }],
  ])('%j is %j', (text, expected) => {
    expect(resolveUser(text, PASSWD, GROUP)).toEqual(expected)
  })

  it.each([
    'mallory',
    'alice:mallory',
    'alice:audio:x',
    '2147483648',
    '4294967296',
    '0:2147483648',
    '-1',
    '1000 ',
    'Alice',
    'broken',
    'high',
    'short',
    '#',
  ])('%j is refused', (text) => {
    expect(() => resolveUser(text, PASSWD, GROUP)).toThrow(expect.objectContaining({ code: 'USER_NOT_FOUND' }))
  })

  it('takes further groups by name and number, each once', () => {
    expect(resolveUser('alice', PASSWD, GROUP, ['wheel', '29', '5000', '5000']).additionalGids).toEqual([10, 29, 5000])
    expect(() => resolveUser('alice', PASSWD, GROUP, ['mallory'])).toThrow(
      expect.objectContaining({ code: 'USER_NOT_FOUND' }),
    )
  })

  it('works without passwd and group', () => {
    expect(resolveUser('1000:1000', '', '')).toEqual({ uid: 1000, gid: 1000, additionalGids: [], home: '/' })
    expect(resolveUser('', '', '')).toMatchObject({ uid: 0, gid: 0 })
    expect(() => resolveUser('root', '', '')).toThrow(/no such user/)
  })

  it('takes at most as many groups as the kernel does (CVE-2026-47262)', () => {
    const many = Array.from({ length: 70_000 }, (_, index) => `g${index}:x:${index}:alice`).join('\n')
    expect(resolveUser('alice', PASSWD, many).additionalGids.length).toBe(65_536)
  })
})
