import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { pushBusybox } from '../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../clients/fixtures/registry.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { makeHostNetwork } from './fixtures/host-network.ts'
import {
  expectNothingLeft,
  expectOneLine,
  isAlive,
  makeMachine,
  useMachine,
  pidOf,
  TSCRUN,
  until,
} from './fixtures/machine.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
let registry: TestRegistry
/** Two images with one layer in common, of 100 kB each beside it, and one of that layer alone. */
const images: string[] = []
const ROOM = 100_000
beforeAll(async () => {
  registry = await startRegistry()
  images.push(await pushBusybox(registry, 'base:1'))
  for (const name of ['one:1', 'two:1']) {
    const layers = [[{ name: `room-${name}`, content: Buffer.alloc(ROOM, name) }]]
    images.push(await pushBusybox(registry, name, { layers, config: { Labels: { of: name } } }))
  }
})
afterAll(async () => {
  await registry.stop()
  await machine.tscrun(['system', 'reset', '-f'])
})

const { out } = backgroundOf(() => machine)

/** The three images, and nothing else. */
beforeEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  await out('volume', 'prune', '-f', '-a')
  const there = await out('images', '--format', '{{.Repository}}:{{.Tag}}')
  for (const image of images) if (!there.includes(image)) await out('pull', '-q', '--tls-verify=false', image)
})

const base = (): string => images[0] ?? ''
const one = (): string => images[1] ?? ''

interface Row {
  readonly Type: string
  readonly TotalCount: string
  readonly Active: string
  readonly Size: string
  readonly Reclaimable: string
}

async function usage(): Promise<Readonly<Record<string, Row>>> {
  const lines = (await out('system', 'df', '--format', 'json')).trim().split('\n')
  return Object.fromEntries(lines.map((line) => JSON.parse(line) as Row).map((row) => [row.Type, row]))
}

describe('system df', () => {
  it('counts a layer of several images once, and gives back what no container has', async () => {
    interface Image {
      readonly Tag: string
      readonly Repository: string
      readonly UniqueSize: string
      readonly SharedSize: string
    }
    const list = JSON.parse(await out('system', 'df', '-v', '--format', 'json')) as {
      readonly Images: readonly Image[]
    }
    const unique = list.Images.map(({ Repository, UniqueSize }) => [Repository.split('/').at(-1), UniqueSize])
    expect(new Map(unique as [string, string][])).toEqual(
      new Map([
        ['base', '0B'],
        ['one', '100kB'],
        ['two', '100kB'],
      ]),
    )
    const bytes = (text: string): number => Number.parseFloat(text) * (text.includes('MB') ? 1e6 : 1e3)
    const shared = bytes(list.Images[0]?.SharedSize ?? '')
    const before = (await usage())['Images']
    expect(bytes(before?.Size ?? '') / (shared + 2 * ROOM)).toBeCloseTo(1, 1)
    expect(before).toMatchObject({ TotalCount: '3', Active: '0', Reclaimable: `${before?.Size} (100%)` })
    await out('create', one())
    const after = (await usage())['Images']
    expect(after).toMatchObject({ Active: '1', Reclaimable: expect.stringMatching(/^100kB \(\d+%\)$/) as string })
  })

  it('counts what containers and volumes have written, as du does', async () => {
    await out(
      'run',
      '--name',
      'wrote',
      '-v',
      'data:/data',
      base(),
      'sh',
      '-c',
      'dd if=/dev/zero of=/x bs=1024 count=1000 2>/dev/null; dd if=/dev/zero of=/data/x bs=1024 count=3000 2>/dev/null',
    )
    await out('run', '-d', '--name', 'runs', base(), 'sleep', '19312')
    const { Containers, 'Local Volumes': volumes } = await usage()
    expect(Containers).toMatchObject({
      TotalCount: '2',
      Active: '1',
      Size: expect.stringMatching(/^1\.0\dMB$/) as string,
    })
    expect(Containers?.Reclaimable).toMatch(/^1\.0\dMB \(9\d%\)$/)
    expect(volumes).toMatchObject({ TotalCount: '1', Active: '1', Size: '3.08MB', Reclaimable: '0B (0%)' })
    const table = await out('system', 'df')
    expect(table.split('\n')[0]).toBe('TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE')
    const verbose = await out('system', 'df', '-v')
    expect(verbose).toMatch(/^CONTAINER ID .* STATUS +(?:PORTS +)?NAMES$/m)
    expect(verbose).toMatch(/ Exited \(0\) .* wrote$/m)
    expect(verbose).toMatch(/^data +1 +3\.08MB$/m)
  })
})

describe('system prune', () => {
  it('removes what does not run and what nobody needs, and leaves the rest', async () => {
    await out('run', '-d', '--name', 'runs', '-v', 'used:/u', base(), 'sleep', '19312')
    const ended = (await out('run', '-d', '-v', '/anonymous', '-v', 'named:/n', one(), 'true')).trim()
    await out('wait', ended)
    const created = (await out('create', one())).trim()
    expect(await out('system', 'prune', '-f')).toMatch(
      new RegExp(`^Deleted Containers:\n(?:${ended}|${created})\n(?:${ended}|${created})\n\nTotal reclaimed space: `),
    )
    expect(await out('images', '-q')).toMatch(/^(?:[0-9a-f]{12}\n){3}$/)
    const [anonymous = ''] = (await out('volume', 'ls', '-q', '-f', 'anonymous=true')).split('\n')
    const text = await out('system', 'prune', '-f', '-a', '--volumes')
    expect(text).toContain(`untagged: ${one()}\n`)
    expect(text).toContain(`Deleted Volumes:\n${anonymous}\n`)
    expect(text).not.toContain(base())
    expect((await usage())['Images']).toMatchObject({ TotalCount: '1', Active: '1' })
    expect(await out('volume', 'ls', '-q')).toBe('named\nused\n')
    expect(await out('exec', 'runs', 'cat', '/etc/group')).toContain('extra')
  })

  it('heeds filters', async () => {
    await out('create', '--label', 'keep=1', '--name', 'kept', base())
    expect(await out('system', 'prune', '-f', '--filter', 'label!=keep')).toBe('Total reclaimed space: 0B\n')
    expect(await out('system', 'prune', '-f', '--filter', 'until=1h')).toBe('Total reclaimed space: 0B\n')
    expect(await out('image', 'prune', '-f', '-a', '--filter', 'label=of=one:1')).toContain(`untagged: ${one()}\n`)
    expect(await out('system', 'prune', '-f', '--filter', 'label=keep')).toMatch(/^Deleted Containers:/)
  })

  it('asks on a terminal, takes the answer of a pipe, and does nothing where nobody answers', async () => {
    await out('create', '--name', 'kept', base())
    const nobody = await machine.tscrun(['system', 'prune'])
    expect(nobody.exitCode).toBe(125)
    expectOneLine(nobody.stderr, /^tscrun: system prune: standard input is no terminal to ask on \(add --force/)
    const command = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, 'system', 'prune']
    const pty = openPty(command, { rows: 24, columns: 80 })
    await until(() => pty.output().includes('[y/N] '))
    expect(pty.output()).toContain('- all containers that do not run')
    pty.type('n\n')
    expect(await pty.ended).toBe(0)
    pty.close()
    expect(await out('ps', '-aq')).not.toBe('')
    const { exitCode, stdout } = await machine.tscrun(['system', 'prune'], { stdin: 'pipe', input: 'y\n' })
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^Deleted Containers:/)])
  })

  it('does not take the layers of a container whose image is in no list', async () => {
    await out('run', '-d', '--name', 'runs', one(), 'sleep', '19312')
    // As a pull or an rmi leaves it at the moment the container is made.
    const index = join(machine.store, 'images', 'index.json')
    const { manifests, ...rest } = JSON.parse(readFileSync(index, 'utf8')) as { manifests: { annotations: object }[] }
    const others = manifests.filter((entry) => !JSON.stringify(entry.annotations).includes('/one:1'))
    expect(others).toHaveLength(2)
    writeFileSync(index, JSON.stringify({ ...rest, manifests: others }))
    await out('image', 'prune', '-fa')
    expect(await out('exec', 'runs', 'cat', '/room-one:1')).toHaveLength(ROOM)
    await out('stop', '-t', '0', 'runs')
    await out('start', 'runs')
    expect(await out('exec', 'runs', 'cat', '/etc/group')).toContain('extra')
  })
})

describe('system reset', () => {
  it('removes everything, and says what it does not', async () => {
    const bound = join(machine.directory, 'bound')
    mkdirSync(bound, { recursive: true })
    writeFileSync(join(bound, 'mine'), '')
    await out('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${bound}`, 'bound')
    await out('run', '-d', '--name', 'runs', '-v', 'data:/d', base(), 'sleep', '19313')
    await out('create', one())
    mkdirSync(join(machine.store, 'prepared'), { recursive: true })
    writeFileSync(join(machine.store, 'prepared/kept'), '')
    const pid = pidOf('sleep 19313') ?? 0
    writeFileSync(join(machine.store, 'of-a-person'), '')
    const refused = await machine.tscrun(['system', 'reset'], { stdin: 'pipe', input: 'y\n' })
    expect(refused.exitCode).toBe(125)
    expectOneLine(
      refused.stderr,
      /^tscrun: system reset: containers run: runs \(stop them first, or end them with --force\)/,
    )
    const text = await out('system', 'reset', '-f')
    expect(text).toMatch(/^Deleted Containers:\n[0-9a-f]{64}\n[0-9a-f]{64}\n\nWhat stays:\n/)
    expect(text).toContain(`${machine.store}/of-a-person (not of tscrun)\n`)
    expect(text).toContain(`${bound} (volume bound)\n`)
    expect(isAlive(pid)).toBe(false)
    expect([readdirSync(machine.store), existsSync(machine.runRoot), readdirSync(bound)]).toEqual([
      ['of-a-person'],
      false,
      ['mine'],
    ])
    expectNothingLeft(machine)
  })

  it('removes networks, with bridges, rules and addresses', async () => {
    const own = makeMachine()
    const net = await makeHostNetwork(own)
    try {
      const before = await net.host('ip -br link; nft list ruleset')
      const root = ['--rootfs', `${own.rootfs}:O`, 'sleep', '1000']
      expect((await net.tscrun(['network', 'create', 'mine'])).exitCode).toBe(0)
      expect((await net.tscrun(['run', '-d', '--network', 'bridge', '-p', '8080:80', ...root])).exitCode).toBe(0)
      expect((await net.tscrun(['run', '-d', '--network', 'mine', ...root])).exitCode).toBe(0)
      expect(await net.host('ip -br link; nft list ruleset')).not.toBe(before)
      const { stdout, exitCode } = await net.tscrun(['system', 'reset', '-f'])
      expect({ stdout, exitCode }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/ip_forward/) })
      expect(stdout).not.toContain(own.store)
      expect(await net.host('ip -br link; nft list ruleset')).toBe(before)
      expect([existsSync(own.store), existsSync(own.runRoot)]).toEqual([false, false])
    } finally {
      net.dispose()
      own.dispose()
    }
  })

  it('leaves a directory alone that is no store', async () => {
    const home = join(machine.directory, 'home')
    mkdirSync(join(home, 'images/mine'), { recursive: true })
    mkdirSync(join(home, 'volumes'))
    const { exitCode } = await machine.tscrun(['--root', home, 'system', 'reset', '-f'])
    expect([exitCode, readdirSync(home), readdirSync(join(home, 'images'))]).toEqual([
      0,
      ['images', 'volumes'],
      ['mine'],
    ])
  })
})
