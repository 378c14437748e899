import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type UnpackLimits, unpackLimits } from '../../../src/images/budget.ts'
import { type Extraction, startExtraction } from '../../../src/images/extraction.ts'
import { requestOf } from '../../../src/images/extractor-process.ts'
import { AT_FDCWD, cString, syscall } from '../../../src/syscall/call.ts'
import { packageRoot } from '../../../src/syscall/package-root.ts'
import { startFaultyRegistry } from '../../clients/fixtures/faulty-registry.ts'
import { makeImage } from '../../clients/fixtures/images.ts'
import { TSCRUN } from '../fixtures/machine.ts'
import { file, member, tar } from './fixtures/tar.ts'

let directory: string
let running: Extraction[]

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-extractor-'))
  fs.mkdirSync(join(directory, 'tree'))
  running = []
})
afterEach(async () => {
  for (const extraction of running) await extraction.abort().catch(() => undefined)
  fs.rmSync(directory, { recursive: true })
})

/** On a blob that is as far as this. */
function start(blob: Buffer, limits: Partial<UnpackLimits> = {}): Extraction {
  const place = join(directory, 'blob')
  fs.writeFileSync(place, blob)
  const extraction = startExtraction(place, {
    directory: join(directory, 'tree'),
    overlay: 'trusted.overlay.',
    limits: { ...unpackLimits(1 << 30, 0, directory), ...limits },
  })
  running.push(extraction)
  return extraction
}

/** One that has written its first file and waits for the rest. */
async function startedAt(limits: Partial<UnpackLimits> = {}): Promise<number> {
  const blob = Buffer.concat([member(file('first')), member({ name: 'second', size: 5000 })])
  const extraction = start(blob, limits)
  await extraction.advance(blob.length)
  const { pid = 0 } = extraction
  await expect.poll(() => fs.readdirSync(`/proc/${pid}/root`).toSorted()).toEqual(['first', 'second'])
  return pid
}

const of = (pid: number, name: string): string => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8')

describe('the process that unpacks a layer', () => {
  it('has namespaces of its own, and sees the layer alone, where no device and no program can be used', async () => {
    const pid = await startedAt()
    for (const name of ['mnt', 'net', 'ipc', 'uts']) {
      expect(fs.readlinkSync(`/proc/${pid}/ns/${name}`), name).not.toBe(fs.readlinkSync(`/proc/self/ns/${name}`))
    }
    // Its only interface is lo, and that one is down.
    expect(
      of(pid, 'net/dev')
        .split('\n')
        .slice(2)
        .filter((line) => line !== ''),
    ).toEqual([expect.stringMatching(/^ *lo:/)])
    expect(of(pid, 'net/fib_trie')).toBe('')
    const [mount = '', ...others] = of(pid, 'mounts').trim().split('\n')
    expect(others).toEqual([])
    expect(mount.split(' ')[3]?.split(',')).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec']))
  })

  it('has the capabilities that files need, and no way to get others', async () => {
    const pid = await startedAt()
    const status = of(pid, 'status')
    for (const set of ['CapEff', 'CapPrm']) expect(status).toMatch(new RegExp(`^${set}:\\t000000008820001b$`, 'm'))
    for (const set of ['CapInh', 'CapAmb']) expect(status).toMatch(new RegExp(`^${set}:\\t0+$`, 'm'))
    // All of its threads are under the filter, those too that V8 made before.
    const threads = fs.readdirSync(`/proc/${pid}/task`)
    expect(threads.length).toBeGreaterThan(1)
    for (const thread of threads) {
      expect(of(pid, `task/${thread}/status`)).toMatch(/^NoNewPrivs:\t1\nSeccomp:\t2$/m)
    }
  })

  it('has limits: processor time, memory, descriptors, sizes, no core', async () => {
    const pid = await startedAt({ cpuSeconds: 77, sizes: 123_456_789 })
    const limits = of(pid, 'limits')
    expect(limits).toMatch(/^Max cpu time +77 +82 /m)
    expect(limits).toMatch(/^Max file size +123456789 +123456789 /m)
    expect(limits).toMatch(/^Max core file size +0 +0 /m)
    expect(limits).toMatch(/^Max open files +64 +64 /m)
    const [, memory] = /^Max address space +(\d+) /m.exec(limits) ?? []
    expect(Number(memory)).toBeLessThan(16 * 2 ** 30)
  })

  it('has nothing of its parent: no variable, no descriptor, no word of its own', async () => {
    const secret = join(directory, 'secret')
    fs.writeFileSync(secret, 'password')
    process.env['TSCRUN_TEST_SECRET'] = 'password'
    // As a shell leaves one open: `9<secret tscrun pull ...`.
    const fd = syscall('openat', [AT_FDCWD, cString(secret), 0])
    try {
      const pid = await startedAt()
      expect(of(pid, 'environ')).toBe('')
      expect(of(pid, 'cmdline')).not.toContain('password')
      const numbers = fs.readdirSync(`/proc/${pid}/fd`)
      const open = numbers.map((name) => fs.readlinkSync(`/proc/${pid}/fd/${name}`))
      expect(open).not.toContain(secret)
      // Its filter forbids their use, which Node would not survive.
      expect(open).not.toContain('anon_inode:[io_uring]')
      // Pipes and queues of events; the blob, which it can only read, and the file that is being written.
      const files = open.filter((target) => !/^(?:anon_inode:|pipe:|socket:|\/dev\/null)/.test(target))
      expect(files.toSorted()).toEqual(['/second', join(directory, 'blob')])
      const blob = numbers[open.indexOf(join(directory, 'blob'))]
      expect(of(pid, `fdinfo/${blob}`)).toMatch(/^flags:\t0?[0-7]*0$/m)
    } finally {
      syscall('close', [fd])
      delete process.env['TSCRUN_TEST_SECRET']
    }
  })

  it('has no ring of io_uring, which its filter forbids, also where its Node begins with one', async () => {
    const place = join(directory, 'blob.gz')
    const blob = gzipSync(tar(file('unpacked', 'x'.repeat(5000))))
    fs.writeFileSync(place, blob)
    const request = {
      work: 'unpack',
      blob: place,
      directory: join(directory, 'tree'),
      overlay: 'trusted.overlay.',
      limits: unpackLimits(1 << 30, 0, directory),
    } as const
    // Asks libuv for what that of Debian 13 does unasked.
    const child = spawn(process.execPath, [join(packageRoot(), 'dist/extractor.cjs'), String(process.pid)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { UV_USE_IO_URING: '1' },
    })
    const told = Buffer.alloc(8)
    told.writeBigUInt64LE(BigInt(blob.length))
    child.stdin?.end(Buffer.concat([requestOf(request), told]))
    const ended = await new Promise((resolve) => child.once('exit', (...how) => resolve(how)))
    expect(ended).toEqual([0, null])
    expect(fs.readFileSync(join(directory, 'tree/unpacked'), 'utf8')).toHaveLength(5000)
  })

  it('ends when it takes too much processor time', async () => {
    const extraction = start(Buffer.alloc(0), { cpuSeconds: 1, tarBytes: 2 ** 50, bytes: 2 ** 50 })
    // Zeros without end, of which nothing is written.
    fs.truncateSync(join(directory, 'blob'), 2 ** 43)
    await extraction.advance(2 ** 43)
    await expect(extraction.finish()).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: 'unpack layer: it takes too much processor time',
    })
  })

  it('ends when a file becomes longer than is taken, though nobody counted', async () => {
    const blob = tar(file('long', 'x'.repeat(5000)))
    const extraction = start(blob, { sizes: 1000, bytes: 2 ** 40 })
    await extraction.advance(blob.length)
    await expect(extraction.finish()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED', message: /1000B|longer/ })
  })

  it('ends with whoever started it, at once', async () => {
    const image = await makeImage({ layers: [[{ name: 'file', content: Buffer.alloc(500_000, 'x') }]] })
    const registry = await startFaultyRegistry(image, (request, response) => {
      if (request.kind !== 'blob' || request.body === undefined || request.body.includes('diff_ids')) return false
      response.writeHead(200, { 'content-length': request.body.length })
      // And then silence.
      response.write(request.body.subarray(0, 300))
      return true
    })
    try {
      const args = ['--root', join(directory, 'store'), 'pull', '-q', '--tls-verify=false', `${registry.host}/image:1`]
      const cli = spawn(TSCRUN, args, { stdio: 'ignore' })
      const ended = new Promise((resolve) => cli.once('exit', resolve))
      const extractor = (): string | undefined =>
        childrenOf(cli.pid ?? 0).find((pid) => commandOf(pid).includes('extractor.cjs'))
      await expect.poll(extractor, { timeout: 20_000 }).toBeDefined()
      const pid = extractor() ?? ''
      cli.kill('SIGKILL')
      await ended
      await expect.poll(() => commandOf(pid), { timeout: 10_000 }).toBe('')
    } finally {
      await registry.stop()
    }
  })
})

function childrenOf(pid: number): readonly string[] {
  const path = `/proc/${pid}/task/${pid}/children`
  return fs.existsSync(path) ? fs.readFileSync(path, 'utf8').trim().split(' ') : []
}

/** Empty for a process that has ended. */
function commandOf(pid: string): string {
  const path = `/proc/${pid}/cmdline`
  return pid !== '' && fs.existsSync(path) ? fs.readFileSync(path, 'utf8') : ''
}
