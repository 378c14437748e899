import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busyboxMembers, BUSYBOX_CONFIG, makeImage, type MadeImage, writeLayout } from '../clients/fixtures/images.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, useMachine } from './fixtures/machine.ts'

/**
 * One store with two images, a container that runs, one that has ended and one that was never started. Each test breaks it
 * in one way, and finds it whole again at its end.
 */
const machine = useMachine()
let image: MadeImage
let ended = ''
let created = ''
beforeAll(async () => {
  image = await makeImage({
    layers: [busyboxMembers(), [{ name: 'etc/motd', content: 'of the second layer\n' }]],
    config: BUSYBOX_CONFIG,
  })
  await load()
  const other = await makeImage({
    layers: [busyboxMembers(), [{ name: 'other', content: '' }]],
    config: BUSYBOX_CONFIG,
  })
  writeLayout(at('other'), [other])
  await out('load', '-q', '-i', at('other'))
  await out('tag', other.config.digest, 'other:1')
  await out('run', '-d', '--name', 'runs', 'other:1', 'sleep', '19314')
  ended = (await out('run', '-d', '--name', 'ended', '-v', 'data:/data', 'image:1', 'true')).trim()
  await out('wait', 'ended')
  created = (await out('create', '--name', 'created', 'image:1', 'cat', '/etc/motd')).trim()
})
afterAll(async () => {
  await machine.tscrun(['system', 'reset', '-f'])
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)
const at = (name: string): string => join(machine.directory, name)
const inStore = (...names: string[]): string => join(machine.store, ...names)
const blob = (digest: string | undefined): string => inStore('images/blobs/sha256', digest?.slice(7) ?? '')

async function load(): Promise<void> {
  const layout = at(`layout-${Math.random()}`)
  writeLayout(layout, [image])
  await out('load', '-q', '-i', layout)
  await out('tag', image.config.digest, 'image:1')
}

async function check(...flags: string[]): Promise<{ readonly code: number | undefined; readonly lines: string[] }> {
  const { exitCode, stdout, stderr } = await machine.tscrun(['system', 'check', ...flags])
  expect(stderr).toBe('')
  return { code: exitCode, lines: stdout.trimEnd().split('\n').slice(0, -1) }
}

/** The image that has no name just now. */
async function nameless(): Promise<string> {
  return (await out('images', '-a', '--format', '{{.Repository}} {{.ID}}')).match(/(?<=<none> )\w+/)?.[0] ?? ''
}

async function expectWhole(): Promise<void> {
  expect(await check()).toEqual({ code: 0, lines: [] })
  expect(await out('exec', 'runs', 'cat', '/etc/group')).toContain('extra')
  expect(await out('run', '--rm', '--pull', 'never', 'image:1', 'cat', '/etc/motd')).toBe('of the second layer\n')
}

/** The directory of the image's upper layer. */
const layer = (): string => {
  const names = fs.readdirSync(inStore('layers')).map((name) => inStore('layers', name))
  return names.find((path) => fs.existsSync(join(path, 'etc/motd'))) ?? ''
}
const edit = (path: string, change: (text: string) => string): void =>
  fs.writeFileSync(path, change(fs.readFileSync(path, 'utf8')))
const record = (id: string): string => inStore('containers', id, 'container.json')
const named = (pattern: RegExp): string => fs.readdirSync(inStore('names')).find((name) => pattern.test(name)) ?? ''
/** An id that no container has. */
const NOBODY = 'ab'.repeat(32)
/** Of a container that was never finished. */
const HALF = 'ef'.repeat(32)

describe('a store with nothing wrong', () => {
  it('is told to be whole', async () => {
    await expectWhole()
    expect(await out('system', 'check', '--quick')).toBe('Nothing is wrong\n')
    expect(await out('system', 'check', '--format', 'json')).toBe('[]\n')
  })
})

/** Of index.json. */
interface Entry {
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
}
const REF_NAME = 'org.opencontainers.image.ref.name'

/** What the check says, and what makes it say so. */
type Spoiling = readonly [RegExp, () => void]

describe('what `system check --repair` puts right by itself', () => {
  it.each<[string, readonly Spoiling[]]>([
    [
      'a file that is gone',
      [[/^image image:1: layer \w+: "etc\/motd" is missing/, () => fs.rmSync(join(layer(), 'etc/motd'))]],
    ],
    [
      'other bytes in a file',
      [
        [
          /layer \w+: "etc\/motd" has other content/,
          () => fs.writeFileSync(join(layer(), 'etc/motd'), 'of the second lawyer'),
        ],
      ],
    ],
    [
      'a layer that is gone',
      [[/^image image:1: layer \w+: is missing/, () => fs.rmSync(layer(), { recursive: true })]],
    ],
    [
      'an empty record of an image',
      [
        [
          /^image image:1: record \w+: is missing or damaged/,
          () => fs.truncateSync(inStore('records', `${image.config.digest.slice(7)}.json`)),
        ],
      ],
    ],
    [
      'what killed commands left of images',
      [
        [/^layer abababababab: no image has it/, () => fs.mkdirSync(inStore('layers', NOBODY))],
        [/^blob abababababab: no image has it/, () => fs.writeFileSync(inStore('images/blobs/sha256', NOBODY), 'x')],
        [
          /^record abababababab\.json: it is of no image|^record ab/,
          () => fs.writeFileSync(inStore('records', `${NOBODY}.json`), '{}'),
        ],
        [/^work blob-ab\w+: half-made/, () => fs.writeFileSync(inStore('work', `blob-${NOBODY}`), 'x')],
        [/^work layer-ab\w+: half-made/, () => fs.mkdirSync(inStore('work', `layer-${NOBODY}`))],
        [/^index .*: is no OCI layout/, () => fs.rmSync(inStore('images/oci-layout'))],
      ],
    ],
    [
      'what killed commands left of containers',
      [
        [/^container efefefefefef: has no record/, () => fs.mkdirSync(inStore('containers', HALF))],
        [/^container abababababab: is in the run directory alone/, () => fs.mkdirSync(join(machine.runRoot, NOBODY))],
        [
          /^container ended: has ended, and nobody has noted how/,
          () => {
            fs.rmSync(inStore('containers', ended, 'exit.json'), { force: true })
            edit(record(ended), (text) => JSON.stringify({ ...(JSON.parse(text) as object), exit: undefined }))
          },
        ],
        [
          /^name nobody: is given to a container that is gone/,
          () => fs.symlinkSync(NOBODY.slice(0, 32), inStore('names', 'nobody')),
        ],
        [
          /^address 10\.9\.0\.2: is given/,
          () => {
            fs.mkdirSync(inStore('leases', NOBODY), { recursive: true })
            fs.symlinkSync(NOBODY.slice(0, 32), inStore('leases', NOBODY, '10.9.0.2'))
          },
        ],
        [/^range 12345: is given/, () => fs.symlinkSync(NOBODY.slice(0, 32), inStore('ranges', '12345'))],
        [
          /^range 12346: is given/,
          () => {
            fs.mkdirSync(inStore('ranges', '12346'))
            fs.symlinkSync(NOBODY.slice(0, 32), inStore('ranges', '12346', NOBODY.slice(0, 32)))
          },
        ],
        [
          /^volume data: is noted as used by a container that is gone/,
          () => fs.writeFileSync(inStore('volumes/data/users', NOBODY), ''),
        ],
        [/^volume \.new-x: is half made/, () => fs.mkdirSync(inStore('volumes/.new-x'))],
      ],
    ],
    [
      'links and files that somebody has deleted',
      [
        [
          /^container created: the name created is not noted as its own/,
          () => fs.rmSync(inStore('names', named(/^created$/))),
        ],
        [
          /^container created: the range of ids at \d+ is not noted as its own/,
          () => {
            const { idRange } = JSON.parse(fs.readFileSync(record(created), 'utf8')) as { idRange: { hostId: number } }
            fs.rmSync(inStore('ranges', String(idRange.hostId)))
          },
        ],
        [
          /^container ended: is not noted as a user of its volume data/,
          () => fs.rmSync(inStore('volumes/data/users', ended)),
        ],
        [
          /^events .*events\.log: 1 of its lines are damaged/,
          () => edit(inStore('events.log'), (text) => `${text}{"Type":"cont\n`),
        ],
        [
          /^prepared start 0123: is damaged/,
          () => {
            fs.mkdirSync(inStore('prepared'), { recursive: true })
            fs.writeFileSync(inStore('prepared/0123'), 'TSP1')
          },
        ],
        [
          /^mount .*: nothing is mounted there any more/,
          () => fs.mkdirSync(join(machine.runRoot, 'mounts', NOBODY), { recursive: true }),
        ],
      ],
    ],
  ])('%s', async (_, spoilings) => {
    for (const [, spoil] of spoilings) spoil()
    const found = await check()
    expect(found.code).toBe(1)
    for (const [line] of spoilings) expect(found.lines).toContainEqual(expect.stringMatching(line))
    const { code, lines } = await check('--repair')
    expect(lines.filter((text) => !text.endsWith(' (repaired)'))).toEqual([])
    expect(code).toBe(0)
    await expectWhole()
  })

  it.each([
    ['cut off', (text: string) => text.slice(0, 20)],
    ['without its list', () => '{}'],
    ['with an entry that is none', () => '{"manifests":[null]}'],
    ['with an entry without a digest', () => '{"manifests":[{}]}'],
    ['with a platform that is none', (text: string) => text.replaceAll('linux/', 'plan9 ')],
  ])('an index that cannot be read, %s: the images are there again, without their names', async (_, spoil) => {
    edit(inStore('images/index.json'), spoil)
    for (const verb of [['images'], ['image', 'prune', '-f']]) {
      const { stderr } = await machine.tscrun(verb)
      expect(stderr).toMatch(/index\.json: damaged \(`tscrun system check --repair` lists the images anew\)\n$/)
    }
    expect((await check()).lines).toEqual([expect.stringMatching(/^index .*index\.json: is missing or damaged/)])
    expect((await check('--repair')).code).toBe(0)
    expect(await out('images', '-aq')).toMatch(/^(?:\w{12}\n){2}$/)
    await out('tag', image.config.digest, 'image:1')
    await out('tag', await nameless(), 'other:1')
    await expectWhole()
  })

  it.each([
    ['a digest that is none', (entry: Entry) => ({ ...entry, digest: 'sha256:x' })],
    ['no size', ({ size: _, ...entry }: Entry) => entry],
    ['a name that is none', (entry: Entry) => ({ ...entry, annotations: { ...entry.annotations, [REF_NAME]: 5 } })],
    ['nothing in it', () => null],
  ])('an index with an entry that has %s: all others keep their names', async (_, spoil) => {
    const foreign = { mediaType: 'text/plain', digest: `sha256:${'0'.repeat(64)}`, size: 1 }
    edit(inStore('images/index.json'), (text) => {
      const { manifests, ...index } = JSON.parse(text) as { manifests: readonly Entry[] }
      const damaged = manifests.map((entry) =>
        entry.annotations?.[REF_NAME]?.endsWith('other:1') ? spoil(entry) : entry,
      )
      return JSON.stringify({ ...index, manifests: [foreign, ...damaged] })
    })
    expect((await machine.tscrun(['images'])).stderr).toMatch(/index\.json: damaged/)
    expect((await check('--repair')).lines).toEqual([expect.stringMatching(/^index .* \(repaired\)$/)])
    const listed = await out('images', '-a', '--format', '{{.Repository}}')
    expect(listed.split('\n').toSorted()).toEqual(['', '<none>', 'image'])
    edit(inStore('images/index.json'), (text) => {
      expect(text).toContain(JSON.stringify(foreign))
      return text.replace(`${JSON.stringify(foreign)},`, '')
    })
    await out('tag', await nameless(), 'other:1')
    await expectWhole()
  })

  it('what another boot has left, although /run is as it was', async () => {
    fs.writeFileSync(inStore('boot'), 'another\n')
    fs.rmSync(inStore('containers', ended, 'exit.json'), { force: true })
    edit(record(ended), (text) => JSON.stringify({ ...(JSON.parse(text) as object), exit: undefined }))
    expect((await check()).lines).toEqual(
      expect.arrayContaining([expect.stringMatching(/^boot .*: nobody has looked after it/)]),
    )
    expect((await check('--repair')).code).toBe(0)
    await expectWhole()
  })
})

describe('what needs something from outside', () => {
  it.each<[string, RegExp, () => void]>([
    ['a blob that is gone', /blob \w+: is missing/, () => fs.rmSync(blob(image.layers[1]?.digest))],
    [
      'a blob that is cut off',
      /blob \w+: has 3 bytes, not \d+/,
      () => fs.truncateSync(blob(image.layers[1]?.digest), 3),
    ],
    [
      'a blob with other bytes',
      /blob \w+: has other bytes/,
      () => {
        const bytes = fs.readFileSync(blob(image.layers[1]?.digest))
        fs.writeFileSync(blob(image.layers[1]?.digest), bytes.fill(7, 20, 22))
      },
    ],
    [
      'a manifest with other bytes',
      /blob \w+: has other bytes/,
      () => edit(blob(image.manifest.digest), (text) => text.replace('layers', 'players').slice(0, -1)),
    ],
  ])('%s is taken away, and its way out told; getting the image again mends it', async (_, line, spoil) => {
    spoil()
    const { code, lines } = await check('--repair')
    expect(code).toBe(1)
    expect(lines).toEqual([expect.stringMatching(line)])
    expect(lines[0]).toMatch(/\(get the rest with `tscrun pull docker\.io\/library\/image:1`\)$/)
    // What is unpacked is not to blame.
    expect(await out('run', '--rm', '--pull', 'never', 'image:1', 'cat', '/etc/motd')).toBe('of the second layer\n')
    await load()
    await expectWhole()
  })

  it('a layer of a container that runs is not touched', async () => {
    const [path = ''] = fs
      .readdirSync(inStore('layers'))
      .map((name) => inStore('layers', name, 'other'))
      .filter((name) => fs.existsSync(name))
    const { atime, mtime } = fs.statSync(path)
    fs.writeFileSync(path, 'x')
    const { code, lines } = await check('--repair')
    expect([code, lines.length]).toEqual([1, 2])
    expect(lines[0]).toMatch(/^image other:1: layer \w+: "other" has 1 bytes, not 0 \(it is in use \(container runs\)/)
    expect(fs.readFileSync(path, 'utf8')).toBe('x')
    fs.truncateSync(path)
    fs.utimesSync(path, atime, mtime)
    await expectWhole()
  })

  it.each<[string, RegExp, string, string]>([
    ['the record of a volume', /^volume data: its record is damaged/, 'volumes/data/volume.json', '{"ver'],
    ['the definition of a network', /^network front: its definition is damaged/, 'networks/front.json', ''],
  ])('%s is told, and left to a person', async (_, line, name, bytes) => {
    const path = inStore(name)
    const before = fs.existsSync(path) ? fs.readFileSync(path) : undefined
    fs.mkdirSync(join(path, '..'), { recursive: true })
    fs.writeFileSync(path, bytes)
    const { code, lines } = await check('--repair')
    expect([code, lines]).toEqual([1, [expect.stringMatching(line)]])
    expect(fs.readFileSync(path, 'utf8')).toBe(bytes)
    if (before === undefined) fs.rmSync(path)
    else fs.writeFileSync(path, before)
    await expectWhole()
  })

  it('a container whose record is lost is removed with --force only', async () => {
    fs.truncateSync(record(created), 30)
    const { stderr } = await machine.tscrun(['ps', '-a'])
    expect(stderr).toMatch(/\(`tscrun system check` looks the store over\)\n$/)
    const { code, lines } = await check('--repair')
    expect([code, lines]).toEqual([
      1,
      [expect.stringMatching(/^container \w{12}: its record is damaged \(what it has written is in /)],
    ])
    expect(fs.existsSync(inStore('containers', created))).toBe(true)
    expect((await check('--repair', '--force')).code).toBe(0)
    expect(fs.readdirSync(inStore('names')).toSorted()).toEqual(['ended', 'runs'])
    await expectWhole()
  })
})
