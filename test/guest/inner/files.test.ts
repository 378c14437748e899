import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Container, createEngine } from '../../../src/index.ts'
import { DATA, RUN_ROOT, STORE, tscrun } from './fixtures/containers.ts'

const engine = createEngine({ root: STORE, runRoot: RUN_ROOT })
const file = join(DATA, 'copied')
let container: Container
beforeAll(async () => {
  const images = await engine.images()
  const deep = images.find(({ repository }) => repository?.endsWith('/deep') === true)
  const script = 'mkdir -p /own/below; echo new > /own/file; chmod 700 /kept; : > /done; exec sleep 1000'
  container = await engine.start(deep?.id, ['sh', '-c', script], { name: 'files' })
  while ((await container.exec(['sh', '-c', '[ -e /done ]'], { reject: false })).exitCode !== 0);
  writeFileSync(file, 'from the host\n')
})
afterAll(() => container.remove())

async function done(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await tscrun(args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
  return String(stdout)
}

const CHANGES = 'A /done\nC /kept\nA /own\nA /own/below\nA /own/file'

describe('the files of a container, where overlayfs takes no layers without a place', () => {
  it('are compared, copied and packed while it runs', async () => {
    expect(await done('diff', 'files')).toContain(CHANGES)
    await container.copyIn(file, '/own/in')
    expect((await container.exec(['stat', '-c', '%u %s', '/own/in'])).stdout).toBe('0 14\n')
    await done('export', '-o', join(DATA, 'running.tar'), 'files')
  })

  it('and when it does not: the overlay is assembled, and has gone again afterwards', async () => {
    await container.stop({ timeoutMs: 50 })
    await container.copyIn(file, '/own/later')
    await container.copyOut('/own/later', join(DATA, 'back'))
    await done('export', '-o', join(DATA, 'stopped.tar'), 'files')
    await done('commit', 'files', 'made')
    expect(await done('diff', 'files')).toContain('A /own/later')
    await container.start()
    expect((await container.exec(['sh', '-c', 'stat -c %u /own/later; cat /own/later'])).stdout).toBe(
      '0\nfrom the host\n',
    )
    expect(await done('run', '--rm', 'made', 'cat', '/own/in')).toContain('from the host')
    await done('rmi', '-f', 'made')
  })
})
