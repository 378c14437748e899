import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type * as Tscrun from '../../src/index.ts'
import { pushBusybox } from '../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../clients/fixtures/registry.ts'
import { processesWith, PROJECT, until } from './fixtures/machine.ts'

let registry: TestRegistry
let directory: string
let image: string
let tscrun: typeof Tscrun
let store: string

beforeAll(async () => {
  registry = await startRegistry()
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'tscrun-worker-')))
  const content = randomBytes(24 << 20)
  image = await pushBusybox(registry, 'worker:1', {
    layers: [
      [{ name: 'big', content }],
      [
        { name: '.wh.big', content: '' },
        { name: 'small', content: 'small' },
      ],
    ],
  })
  tscrun = (await import(join(PROJECT, 'dist/index.js'))) as typeof Tscrun
  writeFileSync(join(directory, 'worker.mjs'), WORKER)
})
afterAll(async () => {
  await registry.stop()
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  store = join(mkdtempSync(join(directory, 'test-')), 'store')
})
afterEach(() => rmSync(join(store, '..'), { recursive: true }))

/** Pulls when told to; hands progress on, and is aborted by a message. */
const WORKER = `
import { parentPort, workerData } from 'node:worker_threads'
const { createEngine } = await import(workerData.library)
const engine = createEngine({ root: workerData.root, runRoot: workerData.root + '-run' })
let controller
parentPort.on('message', async (message) => {
  if (message === 'abort') return controller.abort(new Error('enough'))
  controller = new AbortController()
  const onProgress = (event) => parentPort.postMessage({ event })
  try {
    const pulled = await engine.pull(workerData.image, { tlsVerify: false, onProgress, signal: controller.signal })
    parentPort.postMessage({ pulled })
  } catch (error) {
    parentPort.postMessage({ code: error.code, message: error.message })
  }
})
`

interface Message {
  readonly event?: Tscrun.PullEvent
  readonly pulled?: Tscrun.PulledImage
  readonly code?: string
  readonly message?: string
}

interface Puller {
  readonly worker: Worker
  tell(message: 'pull' | 'abort'): void
  /** What it has written on its standard error: warnings of Node's, for example. */
  complaints(): string
  /** Starts a pull; resolves to its last message, or undefined where the Worker ended before. */
  pull(onEvent?: (event: Tscrun.PullEvent) => void): Promise<Message | undefined>
}

function startWorker(): Puller {
  const workerData = { library: join(PROJECT, 'dist/index.js'), root: store, image }
  const worker = new Worker(join(directory, 'worker.mjs'), { workerData, execArgv: [], stderr: true })
  let complaints = ''
  worker.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is a window's; this one has no origin
  const tell: Puller['tell'] = (message) => worker.postMessage(message)
  const pull: Puller['pull'] = (onEvent) =>
    new Promise((resolve, reject) => {
      worker.removeAllListeners()
      worker.on('message', (message: Message) => {
        if (message.event === undefined) resolve(message)
        else onEvent?.(message.event)
      })
      worker.once('error', reject)
      worker.once('exit', () => resolve(undefined))
      tell('pull')
    })
  return { worker, tell, pull, complaints: () => complaints }
}

/** What this process itself finds in the store, and what a container of it sees. */
async function expectWhole(): Promise<void> {
  const engine = tscrun.createEngine({ root: store, runRoot: `${store}-run` })
  await engine.pull(image, { tlsVerify: false })
  expect(readdirSync(join(store, 'work'))).toEqual([])
  expect(readdirSync(join(store, 'layers'))).toHaveLength(3)
  const { stdout } = await engine.run(image, ['sh', '-c', 'ls /big; cat /small'], { pull: 'never', reject: false })
  expect(stdout).toBe('small')
}

describe('pull() in a Worker', () => {
  it('pulls, a second time too, and what it pulled can be run from outside', async () => {
    const { worker, pull, complaints } = startWorker()
    const first = await pull()
    expect(first).toMatchObject({ pulled: { reference: image } })
    expect(await pull()).toEqual(first)
    await worker.terminate()
    // Of descriptors, for example, that Node has not opened and is to close.
    expect(complaints()).toBe('')
    await expectWhole()
  })

  it('can be aborted, and goes on at the next try', async () => {
    const { worker, tell, pull } = startWorker()
    const aborted = await pull((event) => {
      if (event.type === 'bytes') tell('abort')
    })
    expect(aborted).toEqual({ code: 'ABORTED', message: 'pull: interrupted' })
    expect(processesWith(store)).toEqual([])
    expect(await pull()).toMatchObject({ pulled: { reference: image } })
    await worker.terminate()
    await expectWhole()
  })

  const phases = ['resolved', 'waiting', 'downloading', 'extracting', 'complete'] as const
  it.each(phases)(
    'that ends when a layer is %s leaves no process, and a store that the next pull heals',
    async (at) => {
      const { worker, pull } = startWorker()
      let terminated: Promise<number> | undefined
      const ended = await pull((event) => {
        if (at === (event.type === 'layer' ? event.phase : event.type)) terminated ??= worker.terminate()
      })
      await terminated
      expect(terminated).toBeDefined()
      expect(ended).toBeUndefined()
      await until(() => processesWith(store).length === 0)
      expect(existsSync(join(store, 'images'))).toBe(true)
      await expectWhole()
    },
  )
})
