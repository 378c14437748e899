import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { filesystemOf } from '../../src/overlayfs/support.ts'
import { BUSYBOX_CONFIG, busyboxMembers, type ImageSpec, makeImage, pushImages } from '../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../clients/fixtures/registry.ts'
import { type Ended, expectOneLine, TSCRUN, until } from './fixtures/machine.ts'
import { CHANGES, layerOfEverything, showTree } from './fixtures/marked-image.ts'

let registry: TestRegistry
let directory: string
let everything: Buffer
/** Image names. `large` has all changes, `plain` none, `other` shares layers with both. */
let large: string
let plain: string
let other: string
let count = 0

beforeAll(async () => {
  registry = await startRegistry()
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'tscrun-overlay-')))
  everything = await layerOfEverything(directory)
  large = await push([everything, ...CHANGES])
  plain = await push([everything])
  other = await push([everything, ...CHANGES.slice(0, 2), [{ name: 'data/other', content: 'other' }]])
})
afterAll(async () => {
  await registry.stop()
  rmSync(directory, { recursive: true })
})

async function push(layers: ImageSpec['layers']): Promise<string> {
  const image = await makeImage({ layers: [busyboxMembers(), ...layers], config: BUSYBOX_CONFIG })
  return pushImages(registry.host, `overlay:${++count}`, [image])
}

/** A store on an overlay, and one on the disk. */
let store: string
let onDisk: string
beforeEach(async () => {
  const base = mkdtempSync(join(directory, 'test-'))
  for (const name of ['lower', 'upper', 'work', 'overlay', 'disk']) mkdirSync(join(base, name))
  const options = `lowerdir=${base}/lower,upperdir=${base}/upper,workdir=${base}/work`
  await execa('mount', ['-t', 'overlay', 'overlay', '-o', options, join(base, 'overlay')])
  store = join(base, 'overlay', 'store')
  onDisk = join(base, 'disk', 'store')
})
afterEach(async () => {
  await execa('umount', [join(store, '..')])
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true })
})

function tscrun(root: string, args: readonly string[]): Promise<Ended> {
  const globals = ['--root', root, '--runroot', `${root}-run`]
  return execa(TSCRUN, [...globals, ...args], { reject: false, stdin: 'ignore' }) as unknown as Promise<Ended>
}

/** Answers the warnings, which are all it may say. */
async function pull(root: string, name: string): Promise<string> {
  const { exitCode, stdout, stderr } = await tscrun(root, ['pull', '--quiet', '--tls-verify=false', name])
  expect({ exitCode, stdout }, stderr).toEqual({ exitCode: 0, stdout: name })
  return stderr
}

async function images(root: string): Promise<readonly string[]> {
  const { stdout } = await tscrun(root, ['images', '--format', '{{.Repository}}:{{.Tag}}'])
  return stdout.split('\n').filter((line) => line !== '')
}

/** Names in the store's directory of layers, chain ids cut. */
const layers = (root: string): readonly string[] =>
  readdirSync(join(root, 'layers')).map((name) => name.replace(/^[0-9a-f]{64}/, 'ID'))

function forms(root: string): Readonly<Record<string, number>> {
  const found: Record<string, number> = { ID: 0, 'ID.marked': 0, 'ID.whole': 0 }
  for (const name of layers(root)) found[name] = (found[name] ?? 0) + 1
  return found
}

/** Everything that a container sees of the image. */
async function tree(root: string, image: string): Promise<string> {
  const { exitCode, stdout, stderr } = await tscrun(root, ['run', ...showTree(image)])
  expect(exitCode, stderr).toBe(0)
  return stdout
}

const COPY_WARNING = /^tscrun: warning: the layers are copied into one tree.*: \S+ \(overlay\) cannot hold whiteouts$/

describe('an image with whiteouts, in a store on an overlay', () => {
  it('shows the tree it shows from a disk, said once', async () => {
    expect(await pull(onDisk, large)).toBe('')
    expectOneLine(await pull(store, large), COPY_WARNING)
    const expected = await tree(onDisk, large)
    expect(expected).toMatch(/^top\|f\|4755/m)
    expect(expected).toMatch(/^# file: plain\/capable\nsecurity\.capability=/m)
    expect(expected).toMatch(/^# file: setgid\/sub\nsystem\.posix_acl_default=/m)
    expect(expected).not.toMatch(/gone-file|opaque\/old|again\/old|\.wh\./)
    expect(await tree(store, large)).toBe(expected)
    expect(forms(store)).toEqual({ ID: 4, 'ID.marked': 2, 'ID.whole': 1 })
    expect(await pull(store, large)).toBe('')
  })

  it('keeps holes and the files that are one', async () => {
    await pull(store, large)
    const [whole = ''] = readdirSync(join(store, 'layers')).filter((name) => name.endsWith('.whole'))
    const data = join(store, 'layers', whole, 'data')
    expect(statSync(join(data, 'plain/sparse')).blocks).toBeLessThan(1000)
    expect(statSync(join(data, 'plain/deep/hard')).ino).toBe(statSync(join(data, 'plain/file')).ino)
    // Nothing of it is shared with the layers it was made of: a change of one never shows in the other.
    expect(statSync(join(data, '../bin/busybox')).nlink).toBe(1)
  })

  it('runs, writes, and asks the network nothing the second time', async () => {
    const own = await startRegistry()
    const image = await makeImage({ layers: [busyboxMembers(), everything, ...CHANGES], config: BUSYBOX_CONFIG })
    const name = await pushImages(own.host, 'again:1', [image])
    const argv = ['run', '--rm', '--tls-verify=false', '-q', name, 'sh', '-c']
    const script = 'cat /data/again/new /data/was-dir/in; rm /data/again/new; mkdir /data/again/new; ls /data/again'
    const first = await tscrun(store, [...argv, script])
    expect(first, first.stderr).toMatchObject({ exitCode: 0, stdout: 'secondfourthnew' })
    const lines = first.stderr.split('\n')
    expect(lines).toEqual([
      expect.stringMatching(COPY_WARNING),
      expect.stringMatching(/root in the container is root of the host/),
      expect.stringMatching(/what the container writes is kept in memory/),
    ])
    await own.stop()
    const second = await tscrun(store, [...argv, script])
    expect(second).toMatchObject({ exitCode: 0, stdout: 'secondfourthnew', stderr: '' })
    // As after a start of the machine.
    rmSync(`${store}-run`, { recursive: true })
    const third = await tscrun(store, [...argv, script])
    expect(third).toMatchObject({ exitCode: 0, stdout: 'secondfourthnew', stderr: lines.slice(1).join('\n') })
  })

  it('shares layers with others, each removed alone, and nothing is left of the last', async () => {
    for (const name of [plain, large, other]) await pull(store, name)
    expect((await images(store)).toSorted()).toEqual([large, plain, other].toSorted())
    expect(forms(store)).toEqual({ ID: 5, 'ID.marked': 2, 'ID.whole': 2 })
    const [ofPlain, ofOther] = [await tree(store, plain), await tree(store, other)]
    expect((await tscrun(store, ['rmi', large])).exitCode).toBe(0)
    expect(forms(store)).toEqual({ ID: 4, 'ID.marked': 1, 'ID.whole': 1 })
    expect(await tree(store, other)).toBe(ofOther)
    expect((await tscrun(store, ['rmi', other])).exitCode).toBe(0)
    expect(forms(store)).toEqual({ ID: 2, 'ID.marked': 0, 'ID.whole': 0 })
    expect(await tree(store, plain)).toBe(ofPlain)
    expect((await tscrun(store, ['rmi', plain])).exitCode).toBe(0)
    expectEmpty(store)
  })

  it('is mended by a pull when its tree is gone', async () => {
    await pull(store, large)
    const [whole = ''] = readdirSync(join(store, 'layers')).filter((name) => name.endsWith('.whole'))
    rmSync(join(store, 'layers', whole), { recursive: true })
    expect(await images(store)).toEqual([])
    expectOneLine(await pull(store, large), COPY_WARNING)
    expect(forms(store)).toMatchObject({ 'ID.whole': 1 })
  })

  // Three overlays one above the other are one too many for the kernel.
  it.skipIf(filesystemOf('/') === 'overlay')(
    "runs in a privileged container without a volume, on that container's own overlay",
    async () => {
      const inner = [
        TSCRUN,
        '--root',
        '/var/lib/tscrun-nested',
        '--runroot',
        '/run/tscrun-nested',
        'run',
        '--rm',
        '--network',
        'none',
      ]
      const words = [...inner, '--tls-verify=false', '-q', large, 'cat', '/data/again/new']
      const outer = ['run', '--rm', '--privileged', '--network', 'host', '--rootfs', '/:O', ...words]
      const { exitCode, stdout, stderr } = await tscrun(onDisk, outer)
      expect({ exitCode, stdout }, stderr).toEqual({ exitCode: 0, stdout: 'second' })
      expect(stderr.split('\n')[0]).toMatch(COPY_WARNING)
    },
  )

  it('is one overlay too many over a root directory on two, which is said', async () => {
    const base = join(store, '../..')
    for (const name of ['upper2', 'work2', 'overlay2']) mkdirSync(join(base, name))
    const two = join(base, 'overlay2')
    const options = `lowerdir=${base}/overlay,upperdir=${base}/upper2,workdir=${base}/work2`
    // Where this machine's own disk is one already, this is the third.
    if ((await execa('mount', ['-t', 'overlay', 'overlay', '-o', options, two], { reject: false })).exitCode !== 0)
      return
    try {
      const { exitCode, stderr } = await tscrun(onDisk, [
        'run',
        '--rm',
        '--userns=host',
        '--rootfs',
        `${two}:O`,
        'true',
      ])
      expect(exitCode).toBe(125)
      expectOneLine(
        stderr,
        /^tscrun: (?:fsconfig|mount): assemble the overlay .*\(EINVAL\) \(of overlays only two may lie one above/,
      )
    } finally {
      await execa('umount', [two])
    }
  })

  it('is shown by inspect as the directories its containers get', async () => {
    await pull(store, large)
    const { stdout } = await tscrun(store, ['inspect', large])
    const [image] = JSON.parse(stdout) as [
      { GraphDriver: { Data: { Layers: string[] } }; RootFS: { Layers: string[] } },
    ]
    expect(image.RootFS.Layers).toHaveLength(6)
    expect(image.GraphDriver.Data.Layers.map((path) => basename(path).replace(/^[0-9a-f]{64}/, 'ID'))).toEqual([
      'ID.whole',
      'ID',
    ])
  })
})

/** Nothing of any image. */
function expectEmpty(root: string): void {
  for (const path of ['layers', 'records', 'work', 'images/blobs/sha256']) {
    expect(readdirSync(join(root, path)), path).toEqual([])
  }
}

describe('while the layers are copied', () => {
  let slow: string
  beforeAll(async () => {
    const content = Buffer.alloc(96 << 20, 'not very random')
    slow = await push([[{ name: 'data/big', content }], [{ name: 'data/.wh.nothing', content: '' }]])
  })

  interface Pulling {
    readonly ended: Promise<Ended>
    kill(signal: NodeJS.Signals): void
  }

  /** Resolves while the copy is being made. */
  async function startPull(): Promise<Pulling> {
    const argv = ['--root', store, '--runroot', `${store}-run`, 'pull', '--quiet', '--tls-verify=false', slow]
    const child = execa(TSCRUN, argv, { reject: false, stdin: 'ignore' })
    await until(() => copying() || child.exitCode !== null)
    return { ended: child as unknown as Promise<Ended>, kill: (signal) => void child.kill(signal) }
  }

  const copying = (): boolean =>
    existsSync(join(store, 'work')) && readdirSync(join(store, 'work')).some((name) => name.endsWith('.whole'))

  it('SIGKILL leaves a sound store, and the next pull a whole image', async () => {
    const pulling = await startPull()
    pulling.kill('SIGKILL')
    await pulling.ended
    expect(forms(store)).toMatchObject({ 'ID.whole': 0 })
    expect(await images(store)).toEqual([])
    expectOneLine(await pull(store, slow), COPY_WARNING)
    expect(readdirSync(join(store, 'work'))).toEqual([])
    expect(forms(store)).toEqual({ ID: 2, 'ID.marked': 1, 'ID.whole': 1 })
  })

  it('SIGINT ends it in one line; another pull sweeps what is left', async () => {
    const pulling = await startPull()
    pulling.kill('SIGINT')
    expect((await pulling.ended).exitCode).toBe(130)
    expect(copying()).toBe(false)
    await pull(store, plain)
    expect(forms(store)).toMatchObject({ 'ID.whole': 0 })
  })

  it('a disk that is too small for both is one line, and nothing is left; with room it goes on', async () => {
    const upper = join(store, '../../upper')
    await execa('umount', [join(store, '..')])
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'tscrun-test', upper])
    mkdirSync(join(upper, 'upper'))
    mkdirSync(join(upper, 'work'))
    const options = `lowerdir=${join(upper, '../lower')},upperdir=${upper}/upper,workdir=${upper}/work`
    await execa('mount', ['-t', 'overlay', 'overlay', '-o', options, join(store, '..')])
    try {
      const { exitCode, stderr } = await tscrun(store, ['pull', '--quiet', '--tls-verify=false', slow])
      expect(exitCode).toBe(125)
      const [warning, error = ''] = stderr.split('\n')
      expect(warning).toMatch(COPY_WARNING)
      expectOneLine(error, /^tscrun: copy layers: ENOSPC \(this filesystem needs room for them twice: make room, or /)
      expectEmpty(store)
      await execa('mount', ['-o', 'remount,size=400m', upper])
      expectOneLine(await pull(store, slow), COPY_WARNING)
    } finally {
      // The overlay itself goes after the test.
      await execa('umount', ['--lazy', upper])
    }
  })

  it('two pulls at once copy once', async () => {
    const ended = await Promise.all([pull(store, slow), pull(store, slow)])
    expect(ended.filter((stderr) => stderr !== '')).toEqual([expect.stringMatching(COPY_WARNING)])
    expect(readdirSync(join(store, 'work'))).toEqual([])
    expect(forms(store)).toMatchObject({ 'ID.whole': 1 })
  })
})
