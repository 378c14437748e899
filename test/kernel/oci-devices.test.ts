import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeOciHost, type OciHost } from './fixtures/oci.ts'

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())

it('update replaces the device filter of a running container, and nothing of the old one stays', async () => {
  fs.mkdirSync(join(host.rootfs, 'nodes'))
  const may = async (): Promise<boolean> =>
    (
      await host.oci([
        'exec',
        '--cap',
        'MKNOD',
        'devices',
        'sh',
        '-c',
        'rm -f /nodes/k; mknod /nodes/k c 1 11 && : >/nodes/k',
      ])
    ).exitCode === 0
  const update = (allow: boolean): Promise<string> =>
    host.ok(['update', '-r', '-', 'devices'], {
      input: JSON.stringify({
        devices: [
          { allow: false, access: 'rwm' },
          { allow, type: 'c', major: 1, minor: 11, access: 'rw' },
        ],
      }),
    })
  await host.start('devices', host.bundle())
  expect(await may()).toBe(false)
  await update(true)
  expect(await may()).toBe(true)
  await update(false)
  expect(await may()).toBe(false)
  expect((await host.oci(['exec', 'devices', 'sh', '-c', ': >/dev/null'])).exitCode).toBe(0)
  await host.ok(['delete', '--force', 'devices'])
})
