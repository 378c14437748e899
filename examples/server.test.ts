// A server in a container, as tests of a project want one: started, waited for, filled, asked, gone at the end of the test.
// Copy it into a project that has tscrun and vitest, and run it as root: npx vitest run
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Container, createEngine, ExitError, start, waitFor } from 'tscrun'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const image = process.env['IMAGE'] ?? 'alpine'
const PORT = 8080

/** Answers each connection with what lies in /tmp/page. */
const SERVER = `echo serving; while :; do nc -l -p ${PORT} -e cat /tmp/page; done`

/** The caller disposes of it: `await using` does, however the test ends. */
async function startServer(): Promise<Container> {
  const server = await start(image, ['sh', '-c', SERVER], { labels: { for: 'tests' }, stopSignal: 'SIGKILL' })
  await waitFor.log(server, /^serving$/)
  await waitFor.port(server, PORT)
  return server
}

/** From inside: it has a network of its own, with nobody else in it. */
async function ask(server: Container): Promise<string> {
  const { stdout } = await server.exec(['nc', '127.0.0.1', String(PORT)], { timeoutMs: 20_000 })
  return stdout
}

describe('a server in a container', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'server-test-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  it('serves what was copied into it, and what it wrote can be copied out', async () => {
    await using server = await startServer()
    await writeFile(join(directory, 'page'), 'hello from outside\n')
    await server.copyIn(join(directory, 'page'), '/tmp/page')
    expect(await ask(server)).toBe('hello from outside\n')

    await server.exec(['sh', '-c', 'wc -c </tmp/page >/tmp/size'])
    await server.copyOut('/tmp/size', join(directory, 'size'))
    expect((await readFile(join(directory, 'size'), 'utf8')).trim()).toBe('19')
  })

  it('is another one in each test', async () => {
    await using server = await startServer()
    const failed = server.exec(['cat', '/tmp/page'])
    await expect(failed).rejects.toThrow(ExitError)
    await expect(failed).rejects.toMatchObject({ result: { exitCode: 1, stdout: '' } })
  })

  it('is gone when the test is', async () => {
    const engine = createEngine()
    const filter = { label: ['for=tests'] }
    {
      await using server = await startServer()
      expect((await engine.ps({ all: true, filter })).map(({ id }) => id)).toEqual([server.id])
    }
    expect(await engine.ps({ all: true, filter })).toEqual([])
  })
})
