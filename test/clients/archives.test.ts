import * as fs from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { expectOneLine, makeMachine, type Machine } from '../kernel/fixtures/machine.ts'
import {
  busyboxMembers,
  type LayerMember,
  makeImage,
  makeTar,
  type MadeImage,
  sha256,
  writeLayout,
} from './fixtures/images.ts'

/** Two stores: what one saves the other loads. */
let machine: Machine
let other: Machine
let image: MadeImage
let place = ''
let count = 0
beforeAll(async () => {
  machine = makeMachine()
  other = makeMachine()
  image = await makeImage({
    layers: [
      busyboxMembers(),
      [
        { name: 'etc/motd', content: 'saved\n' },
        { name: 'bin/.wh.env', content: '' },
      ],
    ],
    config: { Cmd: ['cat', '/etc/motd'], Env: ['PATH=/bin'] },
  })
  const layout = join(machine.directory, 'layout')
  writeLayout(layout, [image])
  await ours(['load', '-q', '-i', layout])
  await ours(['tag', image.config.digest, 'example.com/app:1', 'second'])
})
beforeEach(async () => {
  place = join(machine.directory, `place${count++}`)
  fs.mkdirSync(place)
  for (const id of (await theirs(['images', '-aq'])).split('\n').filter((line) => line !== ''))
    await theirs(['rmi', '-f', id])
})
afterAll(() => {
  machine.dispose()
  other.dispose()
})

async function done(on: Machine, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await on.tscrun(args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
  return stdout
}
const ours = (args: readonly string[]): Promise<string> => done(machine, args)
const theirs = (args: readonly string[]): Promise<string> => done(other, args)
const at = (name: string): string => join(place, name)
const skopeo = (...args: string[]): Promise<unknown> => execa('skopeo', ['--insecure-policy', 'copy', '-q', ...args])

/** podman with a store of its own, in mounts of its own: it must not touch the host's cgroups. */
async function podman(...args: string[]): Promise<string> {
  const own = 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"'
  const storage = ['--root', join(machine.directory, 'podman'), '--runroot', join(machine.directory, 'podman-run')]
  const globals = [...storage, '--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none']
  const { stdout } = await execa('unshare', ['-m', 'sh', '-c', own, 'sh', 'podman', ...globals, ...args])
  return stdout
}

describe('save', () => {
  it.each(['docker-archive', 'oci-archive', 'oci-dir', 'docker-dir'])(
    '%s is loaded again as the same image',
    async (format) => {
      await ours(['save', '--format', format, '-o', at('saved'), 'example.com/app:1'])
      const told =
        format === 'docker-dir' ? `Loaded image ID: ${image.config.digest}\n` : 'Loaded image: example.com/app:1\n'
      expect(await theirs(['load', '-q', '-i', at('saved')])).toBe(told)
      expect(await theirs(['run', '--rm', image.config.digest])).toBe('saved\n')
    },
  )

  it('puts several images and names into one archive, and layers they share once', async () => {
    const more = await makeImage({ layers: [busyboxMembers()], config: { Cmd: ['true'] } })
    writeLayout(at('layout'), [more])
    await ours(['load', '-q', '-i', at('layout')])
    await ours(['tag', more.config.digest, 'third'])
    for (const format of ['docker-archive', 'oci-archive']) {
      await ours(['save', '--format', format, '-o', at(format), 'example.com/app:1', 'second', 'third'])
      expect((await theirs(['load', '-q', '-i', at(format)])).split('\n').toSorted().slice(1)).toEqual([
        'Loaded image: example.com/app:1',
        'Loaded image: second:latest',
        'Loaded image: third:latest',
      ])
      const { stdout } = await execa('tar', ['-tf', at(format)])
      const names = stdout.split('\n')
      expect(names.length).toBe(new Set(names).size)
    }
  })

  it('is read by skopeo and umoci', async () => {
    await ours(['save', '-o', at('docker.tar'), 'example.com/app:1'])
    await ours(['save', '--format', 'oci-archive', '-o', at('oci.tar'), 'example.com/app:1'])
    await skopeo(`docker-archive:${at('docker.tar')}:example.com/app:1`, `oci:${at('from-docker')}:x`)
    await skopeo(`oci-archive:${at('oci.tar')}:example.com/app:1`, `oci:${at('from-oci')}:x`)
    for (const name of ['from-docker', 'from-oci']) {
      await execa('umoci', ['unpack', '--image', `${at(name)}:x`, at(`${name}-bundle`)])
      const root = at(`${name}-bundle/rootfs`)
      expect([fs.readFileSync(join(root, 'etc/motd'), 'utf8'), fs.existsSync(join(root, 'bin/env'))]).toEqual([
        'saved\n',
        false,
      ])
    }
  })

  it('and load go both ways with podman', async () => {
    await ours(['save', '-o', at('docker.tar'), 'example.com/app:1'])
    await ours(['save', '--format', 'oci-archive', '-o', at('oci.tar'), 'second'])
    expect(await podman('load', '-i', at('docker.tar'))).toContain('example.com/app:1')
    expect(await podman('load', '-i', at('oci.tar'))).toContain('docker.io/library/second:latest')
    for (const format of ['docker-archive', 'oci-archive', 'oci-dir']) {
      await podman('save', '-q', '--format', format, '-o', at(`podman-${format}`), 'example.com/app:1')
      await theirs(['load', '-q', '-i', at(`podman-${format}`)])
      expect(await theirs(['run', '--rm', 'example.com/app:1']), format).toBe('saved\n')
      await theirs(['rmi', '-f', 'example.com/app:1'])
    }
  })

  it('refuses a terminal, an unknown format, an image that is not there, and leaves no half of a file', async () => {
    for (const [args, reason] of [
      [['save', '--format', 'zip', 'second'], /--format zip: unknown format \(docker-archive, oci-archive/],
      [['save', '--format', 'oci-dir', 'second'], /it needs a directory \(give one with -o\)/],
      [['save', '-o', at('none.tar'), 'second', 'absent'], /image absent: not in the store/],
      [['save', '-o', '/dev/full', 'second'], /\/dev\/full: ENOSPC/],
      [['save', '-o', at('no/such/place'), 'second'], /ENOENT/],
    ] as const) {
      const { exitCode, stderr } = await machine.tscrun([...args])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, reason)
    }
    expect(fs.readdirSync(place)).toEqual([])
  })
})

describe('copy', () => {
  it('goes between all transports without a change of the image', async () => {
    await ours(['save', '--format', 'oci-dir', '-o', at('oci'), 'example.com/app:1'])
    const chain = [
      `oci:${at('oci')}:example.com/app:1`,
      `oci-archive:${at('a.tar')}:one`,
      `dir:${at('dir')}`,
      `oci:${at('again')}:two`,
    ]
    for (const [index, to] of chain.slice(1).entries()) {
      expect((await ours(['copy', '-q', chain[index] ?? '', to])).trim()).toBe(image.manifest.digest)
    }
    await ours(['copy', '-q', `oci:${at('again')}:two`, `docker-archive:${at('d.tar')}:example.com/app:2`])
    await skopeo(`docker-archive:${at('d.tar')}`, `dir:${at('by-skopeo')}`)
    await skopeo(`dir:${at('dir')}`, `oci:${at('by-skopeo-too')}:x`)
    expect(await theirs(['load', '-q', '-i', at('d.tar')])).toBe('Loaded image: example.com/app:2\n')
  })

  it('says which images there are where several could be meant', async () => {
    await ours(['save', '--format', 'oci-dir', '-o', at('oci'), 'example.com/app:1', 'second'])
    const { exitCode, stderr } = await machine.tscrun(['copy', `oci:${at('oci')}`, `dir:${at('dir')}`])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /it holds several images \(give one of .*example.com\/app:1/)
  })
})

/** A docker archive of one image, whose parts can be replaced. */
interface Archive {
  readonly manifest?: unknown
  readonly members?: readonly LayerMember[]
  readonly diffIds?: readonly string[]
}

async function dockerArchive(change: Archive = {}): Promise<Buffer> {
  const layer = await makeTar([{ name: 'hello', content: 'hello\n' }])
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: change.diffIds ?? [sha256(layer)] },
  }
  const manifest = change.manifest ?? [{ Config: 'config.json', RepoTags: ['hostile:1'], Layers: ['one/layer.tar'] }]
  return makeTar([
    { name: 'config.json', content: JSON.stringify(config) },
    { name: 'one/layer.tar', content: layer },
    { name: 'manifest.json', content: typeof manifest === 'string' ? manifest : JSON.stringify(manifest) },
    ...(change.members ?? []),
  ])
}
const entry = (change: object): unknown => [
  { Config: 'config.json', RepoTags: ['hostile:1'], Layers: ['one/layer.tar'], ...change },
]
async function load(bytes: Buffer): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }> {
  fs.writeFileSync(at('archive.tar'), bytes)
  const { exitCode, stdout, stderr } = await other.tscrun(['load', '-q', '-i', at('archive.tar')])
  return { exitCode, stdout, stderr }
}

describe("docker's archives", () => {
  const loaded = { exitCode: 0, stdout: 'Loaded image: hostile:1\n', stderr: '' }

  it('may be compressed, come through a pipe, and have compressed layers', async () => {
    expect(await load(await dockerArchive())).toEqual(loaded)
    const packed = gzipSync(await dockerArchive())
    expect(await load(packed)).toEqual(loaded)
    const piped = await other.tscrun(['load', '-q'], { input: packed, stdin: 'pipe' })
    expect(piped.stdout).toBe(loaded.stdout)
    const layer = gzipSync(await makeTar([{ name: 'hello', content: 'hello\n' }]))
    expect(await load(await dockerArchive({ members: [{ name: 'one/layer.tar', content: layer }] }))).toEqual(loaded)
  })

  it('may have layers behind links, as old ones had for layers that are the same, and a file of names', async () => {
    const members: LayerMember[] = [
      { name: 'two/layer.tar', type: 'symlink', linkname: '../one/layer.tar' },
      { name: 'three/layer.tar', type: 'link', linkname: 'one/layer.tar' },
      { name: 'repositories', content: '{"hostile":{"1":"one"}}' },
    ]
    for (const path of ['two/layer.tar', 'three/layer.tar']) {
      expect(await load(await dockerArchive({ members, manifest: entry({ Layers: [path] }) })), path).toEqual(loaded)
    }
  })

  it.each<[string, Archive, RegExp]>([
    [
      'a layer outside',
      { manifest: entry({ Layers: ['../../../../etc/passwd'] }) },
      /the layer "..\/..\/..\/..\/etc\/passwd" is missing/,
    ],
    ['an absolute layer', { manifest: entry({ Layers: ['/etc/passwd'] }) }, /the layer "\/etc\/passwd" is missing/],
    ['a config outside', { manifest: entry({ Config: '/etc/passwd' }) }, /it has no "\/etc\/passwd"/],
    ['a layer that is not there', { manifest: entry({ Layers: ['absent.tar'] }) }, /the layer "absent.tar" is missing/],
    [
      'a link out of it',
      { members: [{ name: 'one/layer.tar', type: 'symlink', linkname: '/etc/passwd' }] },
      /is missing/,
    ],
    [
      'links in a circle',
      { members: [{ name: 'one/layer.tar', type: 'symlink', linkname: 'layer.tar' }] },
      /is missing/,
    ],
    ['another diff id', { diffIds: [`sha256:${'1'.repeat(64)}`] }, /other bytes than the image promises/],
    ['a diff id that is a path', { diffIds: ['sha256:../../../../etc/passwd'] }, /not a sha256 digest/],
    [
      'a huge manifest',
      { manifest: `[${' '.repeat(5 << 20)}]` },
      /manifest.json has \d+ bytes, more than the \d+ that are taken/,
    ],
    ['a deep manifest', { manifest: `${'['.repeat(500)}${']'.repeat(500)}` }, /nested deeper than 64 levels/],
    [
      'a manifest that is no list of images',
      { manifest: '[{"__proto__": {"Config": "config.json"}}]' },
      /Config is missing/,
    ],
    [
      'too many layers',
      { manifest: entry({ Layers: Array.from({ length: 600 }, () => 'one/layer.tar') }) },
      /600 Layers, more than the 500/,
    ],
    [
      'layers that the config does not have',
      { manifest: entry({ Layers: ['one/layer.tar', 'one/layer.tar'] }) },
      /2 layers, but its config has 1/,
    ],
    [
      'a large config',
      { members: [{ name: 'config.json', content: ' '.repeat(9 << 20) }] },
      /config.json has \d+ bytes/,
    ],
  ])('with %s are refused in one line', async (_what, change, reason) => {
    const { exitCode, stderr } = await load(await dockerArchive(change))
    expect(exitCode).toBe(125)
    expectOneLine(stderr, reason)
    expect(await theirs(['images', '-aq'])).toBe('')
    expect(fs.readdirSync(join(other.store, 'work'))).toEqual([])
  })

  it('that are cut off, no tar at all, or of docker before 1.10 are refused in one line', async () => {
    const whole = await dockerArchive()
    const old = await makeTar([{ name: 'repositories', content: '{}' }])
    for (const [bytes, reason] of [
      [whole.subarray(0, 1800), /it is cut off|wrong checksum|has no/],
      [gzipSync(whole).subarray(0, 300), /damaged or cut off/],
      [Buffer.from('no tar '.repeat(200)), /checksum/],
      [
        await makeTar([{ name: 'etc/passwd', content: 'x' }]),
        /no archive of images \(a root filesystem .*tscrun import/,
      ],
      [old, /docker before 1.10/],
      [Buffer.concat([Buffer.from('fd377a585a00', 'hex'), whole]), /compressed with xz, which is not supported/],
    ] as const) {
      const { exitCode, stderr } = await load(bytes)
      expect(exitCode).toBe(125)
      expectOneLine(stderr, reason)
    }
  })

  it('give an image no name that is none', async () => {
    const names = ['../../etc/passwd', 'UPPER:1', '-x:1', 'fine:1', 'fine@sha256:1', '$(touch /tmp/x):1']
    const { stdout } = await load(await dockerArchive({ manifest: entry({ RepoTags: names }) }))
    expect(stdout).toBe('Loaded image: fine:1\n')
  })
})

describe('an image', () => {
  it('is made of a tar of files, with instructions, and has the files again', async () => {
    const tar = await makeTar([...busyboxMembers(), { name: 'etc/motd', content: 'imported\n' }])
    fs.writeFileSync(at('root.tar.gz'), gzipSync(tar))
    const id = await ours([
      'import',
      '-m',
      'by hand',
      '-c',
      'CMD ["cat","/etc/motd"]',
      '-c',
      'ENV A="b c"',
      at('root.tar.gz'),
      'imported:1',
    ])
    expect(id).toMatch(/^sha256:[0-9a-f]{64}\n$/)
    expect(await ours(['run', '--rm', 'imported:1'])).toBe('imported\n')
    expect(await ours(['run', '--rm', 'imported:1', 'sh', '-c', 'echo $A'])).toBe('b c\n')
    expect(await ours(['history', '--format', '{{.CreatedBy}}|{{.Comment}}', 'imported:1'])).toBe('import|by hand\n')
    const { exitCode, stderr } = await machine.tscrun(['import', '-c', 'RUN x', at('root.tar.gz')])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /--change RUN x: an unknown instruction \(CMD, ENTRYPOINT/)
  })

  it('gets names and loses them, and goes with rmi', async () => {
    await ours(['tag', 'second', 'third:3', 'localhost:5000/fourth'])
    expect(await ours(['image', 'tree', 'third:3'])).toMatch(
      /Tags: .*third:3.*\n(.*\n)*└── ID: [0-9a-f]{12} Size: +\S+ Top Layer of: \[/,
    )
    await ours(['untag', 'third:3', 'third:3'])
    expect((await machine.tscrun(['image', 'exists', 'third:3'])).exitCode).toBe(1)
    expect((await machine.tscrun(['image', 'exists', 'localhost:5000/fourth'])).exitCode).toBe(0)
    await ours(['rmi', 'localhost:5000/fourth'])
    expect(await ours(['run', '--rm', 'second'])).toBe('saved\n')
    for (const [args, reason] of [
      [['tag', 'absent', 'x'], /image absent: not in the store/],
      [['tag', 'second', 'UPPER'], /a repository is written in lower case/],
      [['untag', 'second', 'stranger'], /stranger:latest: not in the store/],
    ] as const) {
      const { exitCode, stderr } = await machine.tscrun([...args])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, reason)
    }
  })
})
