import { execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { OciConfig } from '../../src/model/config.ts'
import { type Bundles, leftOf, makeBundles } from '../kernel/fixtures/bundles.ts'
import { compileStatic } from '../kernel/fixtures/rootfs.ts'

/** config.json is trusted, what lies in the root filesystem is not: it may be made to lead the runtime astray. */
let bundles: Bundles
let outside: string
beforeAll(() => {
  bundles = makeBundles()
  outside = join(bundles.directory, 'outside')
})
beforeEach(() => {
  rmSync(outside, { recursive: true, force: true })
  mkdirSync(outside)
  writeFileSync(join(outside, 'canary'), 'untouched')
})
afterAll(() => bundles.dispose())

const inRoot = (...names: string[]): string => join(bundles.rootfs, ...names)
/** Nothing outside was made, changed or removed; nothing of the container is left. */
function expectUntouched(): void {
  expect(readdirSync(outside)).toEqual(['canary'])
  expect(readFileSync(join(outside, 'canary'), 'utf8')).toBe('untouched')
  expect(leftOf(bundles)).toEqual([])
}
/** Puts something else in the place of a directory of the root filesystem. */
function withInPlace(name: string, make: (path: string) => void, test: () => void): void {
  rmSync(inRoot(name), { recursive: true, force: true })
  make(inRoot(name))
  try {
    test()
  } finally {
    rmSync(inRoot(name), { recursive: true, force: true })
    mkdirSync(inRoot(name))
  }
}
const withoutDev = (config: OciConfig): OciConfig => ({
  ...config,
  mounts: config.mounts?.filter(({ destination }) => !destination.startsWith('/dev')) ?? [],
})

/** CVE-2019-16884, 2019-19921, 2023-27561, 2025-31133, 2026-41579, 2026-47766. */
describe('/proc, /sys and /dev of a bundle', () => {
  for (const name of ['proc', 'sys', 'dev'])
    for (const target of ['OUTSIDE', '../../../../../../OUTSIDE', '/etc', '.', '/absent'])
      it(`are refused where /${name} is a link to ${target}`, () => {
        withInPlace(
          name,
          (path) => symlinkSync(target.replace('OUTSIDE', outside), path),
          () => {
            const { code, stderr } = bundles.create('true')
            expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/ELOOP.*not a plain directory/) })
            expectUntouched()
          },
        )
      })

  it('are refused where nothing is mounted on a /dev that is a link: no device is made where it leads', () => {
    withInPlace(
      'dev',
      (path) => symlinkSync(outside, path),
      () => {
        expect(bundles.create('true', { edit: withoutDev }).code).toBe(1)
        expectUntouched()
      },
    )
  })

  it.each(['null', 'console', 'tty'])('do not take a link called /dev/%s for the device', (device) => {
    withInPlace(
      'dev',
      (path) => {
        mkdirSync(path)
        symlinkSync(join(outside, 'canary'), join(path, device))
      },
      () => {
        const socket = join(bundles.directory, `console-${device}`)
        const server = createServer().listen(socket)
        const process = { terminal: device === 'console' }
        const flags = process.terminal ? ['--console-socket', socket] : []
        const keepPts = (config: OciConfig): OciConfig => ({
          ...config,
          mounts: config.mounts?.filter(({ destination }) => destination !== '/dev') ?? [],
        })
        const { code } = bundles.create('true', { edit: keepPts, process }, flags)
        server.close()
        expect(code).toBe(1)
        expectUntouched()
      },
    )
  })

  it('mask and protect inside of the root only, whatever a path leads to', () => {
    symlinkSync('/../../../../etc', inRoot('upwards'))
    symlinkSync(outside, inRoot('away'))
    const linux = {
      namespaces: [{ type: 'pid' }, { type: 'mount' }],
      maskedPaths: ['/upwards/passwd', '/away/canary', '/absent/x'],
      readonlyPaths: ['/upwards', '/away'],
    } as const
    const { stdout, stderr } = bundles.run('wc -c < /etc/passwd; touch /etc/x; echo $?', { linux })
    expect(stdout).toBe('0\n1\n')
    expect(stderr).toContain('Read-only file system')
    expect(readFileSync('/etc/passwd', 'utf8')).toContain('root:')
    expectUntouched()
    for (const name of ['upwards', 'away']) rmSync(inRoot(name))
  })
})

/** CVE-2021-30465, 2024-45310, 2019-18837. */
describe('a mount point of a bundle', () => {
  it.each(['/escape/made', '/escape/../made', '../../made', '/../../../made', '/escape'])(
    'that leads out is made inside: %s',
    (destination) => {
      symlinkSync(`../../../../../../..${outside}`, inRoot('escape'))
      const mounts = [
        { destination, type: 'tmpfs', source: 'tmpfs' },
        { destination: `${destination}-too`, type: 'bind', source: '/etc/hostname', options: ['bind'] },
      ]
      bundles.run('true', { mounts })
      rmSync(inRoot('escape'))
      expectUntouched()
    },
  )

  it('that is a dangling link is not followed to make a file', () => {
    symlinkSync(join(outside, 'made'), inRoot('dangling'))
    const mounts = [{ destination: '/dangling', type: 'bind', source: '/etc/hostname', options: ['bind'] }]
    bundles.create('true', { mounts })
    rmSync(inRoot('dangling'))
    expectUntouched()
  })

  it('that is a fifo, a socket or a device is covered without being opened', () => {
    execFileSync('mkfifo', [inRoot('fifo')])
    execFileSync('mknod', [inRoot('device'), 'c', '5', '1'])
    const mounts = ['/fifo', '/device'].map((destination) => ({
      destination,
      type: 'bind',
      source: join(outside, 'canary'),
      options: ['bind', 'ro'],
    }))
    expect(bundles.run('cat /fifo /device', { mounts }).stdout).toBe('untoucheduntouched')
    expect(lstatSync(inRoot('fifo')).isFIFO()).toBe(true)
    expectUntouched()
    for (const name of ['fifo', 'device']) rmSync(inRoot(name))
  })

  it('in the way of a directory is told', () => {
    const mounts = [{ destination: '/etc/passwd', type: 'tmpfs', source: 'tmpfs' }]
    expect(bundles.create('true', { mounts }).stderr).toContain('prepare the mount point /etc/passwd: not a directory')
    expectUntouched()
  })

  it('whose directory is exchanged for a link to the host all the while stays inside', () => {
    const program = join(bundles.directory, 'swapper')
    compileStatic(join(import.meta.dirname, '..', 'kernel', 'fixtures', 'swapper.c'), program)
    mkdirSync(inRoot('shared/volume'), { recursive: true })
    symlinkSync(outside, inRoot('shared/link'))
    const swapper = spawn(program, [inRoot('shared/volume'), inRoot('shared/link')], { stdio: 'ignore' })
    try {
      const mounts = [
        { destination: '/shared/volume/a/b', type: 'tmpfs', source: 'tmpfs' },
        { destination: '/shared/volume/file', type: 'bind', source: '/etc/hostname', options: ['bind'] },
      ]
      const devices = [{ type: 'c', path: '/shared/volume/device', major: 1, minor: 3 }] as const
      for (let round = 0; round < 12; round++) {
        bundles.run('true', { mounts, linux: { devices, namespaces: [{ type: 'pid' }, { type: 'mount' }] } })
      }
    } finally {
      swapper.kill('SIGKILL')
    }
    expectUntouched()
    rmSync(inRoot('shared'), { recursive: true })
  })
})

describe('the files that a runtime looks into', () => {
  it('are not waited for: /etc/passwd as a fifo gives a home of /', () => {
    const passwd = readFileSync(inRoot('etc/passwd'))
    rmSync(inRoot('etc/passwd'))
    execFileSync('mkfifo', [inRoot('etc/passwd')])
    const { stdout } = bundles.run('echo $HOME', { process: { user: { uid: 1000, gid: 1000 } } })
    rmSync(inRoot('etc/passwd'))
    writeFileSync(inRoot('etc/passwd'), passwd)
    expect(stdout).toBe('/\n')
  })

  it('are not there where the root filesystem itself is a link', () => {
    const link = join(bundles.directory, 'link')
    symlinkSync(bundles.rootfs, link)
    const edit = (config: OciConfig): OciConfig => ({ ...config, root: { path: link } })
    const { code, stderr } = bundles.create('true', { edit })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining(`root.path: ${link} is not a directory`),
    })
  })

  it('may be covered by hundreds of mounts; more than can be is refused in one line', () => {
    const mounts = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ destination: `/mnt/${index}`, type: 'tmpfs', source: 'tmpfs' }))
    const { stdout, stderr } = bundles.run('grep -c " /mnt/" /proc/self/mountinfo', { mounts: mounts(600) })
    expect({ stdout, stderr }).toEqual({ stdout: '600\n', stderr: '' })
    const refused = bundles.create('true', { mounts: mounts(3000) })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/^tscrun-runtime: plan: more than 2048 slots/)
    expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1)
    expectUntouched()
    expect(existsSync('/mnt/599')).toBe(false)
  })
})
