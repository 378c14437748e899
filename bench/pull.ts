import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { makeImage, makeTar, pushImages, type LayerMember } from '../test/clients/fixtures/images.ts'
import { startRegistry } from '../test/clients/fixtures/registry.ts'
import { containerdContender, hasContainerd } from './containerd.ts'
import { type Contender, command, interleave } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

const LAYERS = 4
const FILES_A_DIRECTORY = 50
const OWN = 'tscrun pull'
const FORMATS = ['gzip', 'zstd'] as const
type Format = (typeof FORMATS)[number]

export interface PullOptions {
  readonly rounds: number
  /** Files of the whole image, and bytes of each. */
  readonly files: number
  readonly fileBytes: number
}

/** An image from docker-registry onto the disk, unpacked; every round into directories that are new. */
export async function pull(stage: Stage, { timer }: Contest, options: PullOptions): Promise<readonly Group[]> {
  const image = await makeFiles(options)
  const megabytes = Math.round((options.files * options.fileBytes) / 1e6)
  const groups: Group[] = []
  for (const format of FORMATS) {
    // One each: skopeo takes blobs of the other format where it knows that the registry has them.
    const registry = await startRegistry()
    try {
      const flags = format === 'gzip' ? [] : ['--dest-compress', '--dest-compress-format', format]
      const reference = await pushImages(registry.host, 'bench/files:latest', [image], flags)
      const rows = await interleave(contenders(stage, timer, { reference, format }), options.rounds)
      const what = `${options.files} files, ${megabytes} MB, ${LAYERS} layers, ${await packedSize(reference)} MB`
      groups.push({ name: `pull, ${format}`, title: `pull and unpack, ${what} of ${format}, ms`, rows, subject: OWN })
    } finally {
      await registry.stop()
    }
  }
  return groups
}

async function packedSize(reference: string): Promise<number> {
  const { stdout } = await execa('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${reference}`])
  const { layers } = JSON.parse(stdout) as { layers: { size: number }[] }
  return Math.round(layers.reduce((sum, { size }) => sum + size, 0) / 1e6)
}

interface Pulled {
  readonly reference: string
  readonly format: Format
}

function contenders({ root, work }: Stage, timer: string, { reference, format }: Pulled): Contender[] {
  let round = 0
  /** What was removed lately slows what is made next (ext4), so nothing is removed until the end. */
  const place = (): string => {
    const directory = join(work, `pull-${format}-${round++}`)
    mkdirSync(directory)
    // One contender's unwritten pages are not the next one's burden.
    spawnSync('sync')
    return directory
  }
  const fresh = (name: string, argv: (directory: string) => readonly string[]): Contender => ({
    name,
    run: () => command(name, argv(place()), { timer }).run(),
  })
  const stores = (at: string): string[] => ['--root', join(at, 'store'), '--runroot', join(at, 'run')]
  const tscrun = join(root, 'bin/tscrun')
  const list = [fresh(OWN, (at) => [tscrun, ...stores(at), 'pull', '-q', reference])]
  // Debian's umoci knows no zstd.
  if (format === 'gzip' && has('skopeo') && has('umoci')) {
    const both =
      'skopeo copy -q --src-tls-verify=false "docker://$1" "oci:$2/oci:image" && umoci unpack --image "$2/oci:image" "$2/bundle"'
    list.push(fresh('skopeo copy, umoci unpack', (at) => ['sh', '-c', both, 'sh', reference, at]))
  }
  if (hasContainerd()) list.push(containerdContender('ctr images pull', { timer, reference, place }))
  if (has('podman')) list.push(podman(timer, reference, { place, stores }))
  return list
}

interface Places {
  readonly place: () => string
  readonly stores: (at: string) => readonly string[]
}

function podman(timer: string, reference: string, { place, stores }: Places): Contender {
  const name = 'podman pull'
  return {
    name,
    run: async () => {
      const at = place()
      const argv = ['podman', ...stores(at), 'pull', '-q', '--tls-verify=false', reference]
      try {
        return await command(name, argv, { timer }).run()
      } finally {
        spawnSync('umount', ['--lazy', join(at, 'store/overlay')], { stdio: 'ignore' })
      }
    },
  }
}

function has(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined
}

async function makeFiles({ files, fileBytes }: PullOptions): ReturnType<typeof makeImage> {
  const next = halfRandom(2463534242)
  const layers: Buffer[] = []
  for (let layer = 0; layer < LAYERS; layer++) {
    layers.push(await makeTar(membersOf(layer, Math.ceil(files / LAYERS), () => next(fileBytes))))
  }
  return makeImage({ layers, config: { Cmd: ['/none'] } })
}

function membersOf(layer: number, files: number, content: () => Buffer): LayerMember[] {
  const top = `usr/share/layer${layer}`
  // All directories are described: of others every program makes something else.
  const members = ['usr', 'usr/share', top].map((name): LayerMember => ({ name, type: 'directory', mode: 0o755 }))
  for (let index = 0; index < files; index++) {
    const directory = `${top}/${Math.floor(index / FILES_A_DIRECTORY)}`
    if (index % FILES_A_DIRECTORY === 0) members.push({ name: directory, type: 'directory', mode: 0o755 })
    members.push({ name: `${directory}/file${index}`, mode: 0o644, content: content() })
  }
  return members
}

/** Bytes that gzip to about 40 %, the same in every run: 24 random bytes in each 64. */
function halfRandom(seed: number): (size: number) => Buffer {
  let state = seed
  return (size) => {
    const bytes = Buffer.alloc(size, 0x20)
    for (let at = 0; at < size; at++) {
      if (at % 64 >= 24) continue
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes[at] = state & 0xff
    }
    return bytes
  }
}
