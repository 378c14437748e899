import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { busyboxMembers, BUSYBOX_CONFIG, makeImage, pushImages } from '../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../clients/fixtures/registry.ts'
import { expectNothingLeft, useMachine } from '../kernel/fixtures/machine.ts'
import { randomOf, soakOf } from '../setup/soak.ts'

/** Many commands on the images of one store at once: for so many seconds. */
const { count: seconds, seed } = soakOf('store_mixed', 5)

const machine = useMachine()
let registry: TestRegistry
let counted: Server
/** Paths of blobs and manifests that were asked for. */
const asked: string[] = []
const images: string[] = []
beforeAll(async () => {
  registry = await startRegistry()
  counted = await countingRegistry()
  const common = [busyboxMembers(), [{ name: 'common', content: Buffer.alloc(1 << 20, 'common') }]]
  for (const name of ['a', 'b', 'c']) {
    const own = [
      { name: `own-${name}`, content: Buffer.alloc(300_000, name) },
      { name: `bin/.wh.env`, content: '' },
      { name: `again-${name}`, type: 'link', linkname: `own-${name}` } as const,
    ]
    const image = await makeImage({ layers: [...common, own], config: BUSYBOX_CONFIG })
    await pushImages(registry.host, `mixed:${name}`, [image])
    images.push(`127.0.0.1:${(counted.address() as AddressInfo).port}/mixed:${name}`)
  }
})
afterAll(async () => {
  counted.closeAllConnections()
  await new Promise((resolve) => counted.close(resolve))
  await registry.stop()
  await machine.tscrun(['system', 'reset', '-f'])
})

/** Hands every request on to the registry, and keeps a list. */
async function countingRegistry(): Promise<Server> {
  const server = createServer((incoming, response) => {
    if (incoming.method === 'GET') asked.push(incoming.url ?? '')
    const { method, url, headers } = incoming
    const [host, port] = registry.host.split(':')
    const onward = request(
      { host, port, method, path: url, headers: { ...headers, host: registry.host } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      },
    )
    onward.on('error', () => response.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function must(args: readonly string[], allowed?: RegExp): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args, { timeout: 180_000 })
  if (exitCode === 125 && allowed?.test(stderr) === true && stderr.trim().split('\n').length === 1) return ''
  expect({ exitCode, stderr }, `${args.join(' ')} (seed ${seed})`).toEqual({ exitCode: 0, stderr: '' })
  return stdout
}

const pull = (image: string): Promise<string> => must(['pull', '-q', image])

it('32 pulls of one image at once download each blob once', async () => {
  asked.length = 0
  const image = images[0] ?? ''
  const printed = await Promise.all(Array.from({ length: 32 }, () => pull(image)))
  expect(new Set(printed)).toEqual(new Set([`${image}\n`]))
  const blobs = asked.filter((path) => path.includes('/blobs/'))
  expect(blobs.length, blobs.join('\n')).toBe(new Set(blobs).size)
  expect(blobs).toHaveLength(4)
  await expectExact()
})

it(`pull, rmi, run and prune at random end well, or say "in use", for ${seconds} s`, async () => {
  const until = performance.now() + seconds * 1000
  const worker = async (number: number): Promise<void> => {
    const random = randomOf(seed + number)
    const pick = (below: number): number => Math.floor(random() * below)
    while (performance.now() < until) {
      const image = images[pick(images.length)] ?? ''
      const kind = pick(10)
      if (kind < 4) await pull(image)
      else if (kind < 6) await must(['rmi', image], /: used by container |: not in the store/)
      else if (kind < 7) await must(['image', 'prune', '-f', ...(pick(2) === 0 ? ['-a'] : [])])
      else {
        const own = `own-${image.slice(-1)}`
        // The image may go between the pull and the start of another container, never of this one.
        const flags = ['run', '--rm', '-q', '--pull', kind < 9 ? 'missing' : 'always']
        expect(await must([...flags, image, 'sh', '-c', `wc -c < ${own}; echo bin/*nv*`])).toBe('300000\nbin/*nv*\n')
      }
    }
  }
  await Promise.all(Array.from({ length: 6 }, (_, number) => worker(number)))
  await expectExact()
  for (const image of images) await must(['rmi', image], /: not in the store/)
  await must(['image', 'prune', '-af'])
  for (const place of ['layers', 'records', 'images/blobs/sha256', 'work']) {
    expect(readdirSync(join(machine.store, place))).toEqual([])
  }
  expectNothingLeft(machine)
})

/** Nothing that no image has is there, everything an image has is whole, and `system df` counts it as it lies on the disk. */
async function expectExact(): Promise<void> {
  await must(['image', 'prune', '-f'])
  expect(await must(['image', 'verify', '--deep', '-q'])).toBe('')
  expect(await must(['system', 'check'])).toBe('Nothing is wrong\n')
  const lines = (await must(['system', 'df', '--format', '{{json .}}'])).trim().split('\n')
  const { Size } = lines
    .map((line) => JSON.parse(line) as { Type: string; Size: string })
    .find(({ Type }) => Type === 'Images') ?? { Size: '' }
  const find = ['layers', '-type', 'f', '-printf', '%i %s\\n']
  const { stdout } = await execa('find', find, { cwd: machine.store })
  const bytes = [...new Set(stdout.split('\n'))].reduce((sum, line) => sum + Number(line.split(' ')[1] ?? 0), 0)
  const listed = JSON.parse(readFileSync(join(machine.store, 'images/index.json'), 'utf8')) as { manifests: unknown[] }
  expect(Size).toBe(listed.manifests.length === 0 ? '0B' : shown(bytes))
}

function shown(bytes: number): string {
  return bytes < 1e6 ? `${Number((bytes / 1e3).toPrecision(3))}kB` : `${Number((bytes / 1e6).toPrecision(3))}MB`
}
