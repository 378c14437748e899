import { readFileSync } from 'node:fs'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expectNothingLeft, useMachine } from '../kernel/fixtures/machine.ts'
import { debianTree, whyNoFreshMachine } from './fixtures/fresh-machine.ts'
import { blobOf, makeImage, type MadeImage, OCI_MANIFEST, pushImages } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

const machine = useMachine()
let registry: TestRegistry
beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(() => registry.stop())

/** `top` on the system that debootstrap made: a layer of zstd below one of gzip. */
async function onDebian(top: MadeImage): Promise<MadeImage> {
  const archive = await debianTree()
  const { stdout } = await execa('sh', ['-c', 'zstd -dcq "$1" | sha256sum', 'sh', archive])
  const base = blobOf(readFileSync(archive))
  const layers = [base, ...top.layers]
  const diffIds = [`sha256:${stdout.slice(0, 64)}`, ...top.diffIds]
  const before = JSON.parse(top.config.bytes.toString()) as object
  const config = blobOf({ ...before, rootfs: { type: 'layers', diff_ids: diffIds } })
  const manifest = blobOf({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.bytes.length,
    },
    layers: layers.map(({ digest, bytes }, index) => ({
      mediaType: `application/vnd.oci.image.layer.v1.tar+${index === 0 ? 'zstd' : 'gzip'}`,
      digest,
      size: bytes.length,
    })),
  })
  return { config, layers, diffIds, manifest }
}

it('a Debian system is in a container as dpkg unpacked it, but for what a layer above hides', async ({ skip }) => {
  const why = await whyNoFreshMachine()
  if (why !== undefined) skip(why)
  const top = await makeImage({
    layers: [
      [
        { name: 'usr/share/doc/.wh..wh..opq', content: '' },
        { name: 'usr/share/doc/mine', content: '' },
        { name: 'etc/.wh.debian_version', content: '' },
      ],
    ],
    config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
  })
  const name = await pushImages(registry.host, 'debian:1', [await onDebian(top)])
  const script = `dpkg --verify | grep -v ' /usr/share/doc/'; ls /usr/share/doc; find /etc -name '.wh*'
    stat -c '%a %U:%G %h' /etc/shadow /usr/bin/chage /usr/bin/passwd /usr/bin/perl
    ls -di /usr/bin/perl /usr/bin/perl5* | cut -d ' ' -f 1 | sort -u | wc -l; perl -e 'print "runs\\n"'`
  const { exitCode, stdout, stderr } = await machine.tscrun(['run', '--rm', '-q', name, 'sh', '-c', script])
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout.split('\n')).toEqual([
    'missing   c /etc/debian_version',
    'mine',
    '640 root:shadow 1',
    '2755 root:shadow 1',
    '4755 root:root 1',
    '755 root:root 2',
    '1',
    'runs',
    '',
  ])
  expectNothingLeft(machine)
}, 180_000)
