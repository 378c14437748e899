import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { pullImage } from '../../src/images/pull.ts'
import { saveImage } from '../../src/images/save.ts'
import { openImageStore } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import { pushBusybox } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

let registry: TestRegistry
let root: string

beforeAll(async () => {
  registry = await startRegistry()
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-store-'))
})
afterAll(async () => {
  await registry.stop()
  fs.rmSync(root, { recursive: true })
})

describe('a saved image', () => {
  it('is an archive that skopeo copies and umoci unpacks', async () => {
    const name = await pushBusybox(registry, 'saved:1', { layers: [[{ name: 'etc/motd', content: 'saved\n' }]] })
    const store = openImageStore({ root })
    const image = await pullImage(store, parseReference(name), { platform: hostPlatform(), policy: 'missing' })
    const file = join(root, 'saved.tar')
    await saveImage(store, name, fs.createWriteStream(file))
    const { stdout } = await execa('skopeo', ['inspect', '--raw', `oci-archive:${file}:${name}`])
    expect(JSON.parse(stdout)).toMatchObject({ config: { digest: image.id } })
    const layout = join(root, 'copied')
    await execa('skopeo', ['--insecure-policy', 'copy', '-q', `oci-archive:${file}:${name}`, `oci:${layout}:copy`])
    await execa('umoci', ['unpack', '--image', `${layout}:copy`, join(root, 'bundle')])
    expect(fs.readFileSync(join(root, 'bundle/rootfs/etc/motd'), 'utf8')).toBe('saved\n')
  })

  it('is not made of an image that is not there', async () => {
    const output = fs.createWriteStream(join(root, 'none.tar'))
    await expect(saveImage(openImageStore({ root }), 'absent', output)).rejects.toMatchObject({ code: 'NO_SUCH_IMAGE' })
    output.destroy()
  })
})
