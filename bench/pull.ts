import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { makeImage, makeTar, pushImages, type LayerMember } from '../test/clients/fixtures/images.ts'
import { startRegistry } from '../test/clients/fixtures/registry.ts'
import { type Contender, command, interleave } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

const LAYERS = 4
const FILES_A_DIRECTORY = 50

export interface PullOptions {
  readonly rounds: number
  /** Files of the whole image, and bytes of each. */
  readonly files: number
  readonly fileBytes: number
}

/** An image from docker-registry onto the disk, unpacked; every round into directories that are new. */
export async function pull(stage: Stage, { timer }: Contest, options: PullOptions): Promise<Group> {
  const registry = await startRegistry()
  try {
    const reference = await pushImages(registry.host, 'bench/files:latest', [await makeFiles(options)])
    const rows = await interleave(contenders(stage, timer, reference), options.rounds)
    const title = `pull and unpack, ${options.files} files of ${options.fileBytes} bytes in ${LAYERS} layers, ms`
    return { name: 'pull', title, rows, subject: 'tscrun pull' }
  } finally {
    await registry.stop()
  }
}

function contenders({ root, work }: Stage, timer: string, reference: string): Contender[] {
  let round = 0
  /** What was removed lately slows what is made next (ext4), so nothing is removed until the end. */
  const fresh = (name: string, argv: (directory: string) => readonly string[]): Contender => ({
    name,
    run: () => {
      const directory = join(work, `pull-${round++}`)
      mkdirSync(directory)
      // One contender's unwritten pages are not the next one's burden.
      spawnSync('sync')
      return command(name, argv(directory), { timer }).run()
    },
  })
  const skopeoAndUmoci =
    'skopeo copy -q --src-tls-verify=false "docker://$1" "oci:$2/oci:image" && umoci unpack --image "$2/oci:image" "$2/bundle"'
  return [
    fresh('tscrun pull', (at) => [
      join(root, 'bin/tscrun'),
      '--root',
      join(at, 'store'),
      '--runroot',
      join(at, 'run'),
      'pull',
      '-q',
      reference,
    ]),
    ...(has('skopeo') && has('umoci')
      ? [fresh('skopeo copy, umoci unpack', (at) => ['sh', '-c', skopeoAndUmoci, 'sh', reference, at])]
      : []),
    ...(has('podman')
      ? [
          fresh('podman pull', (at) => [
            'podman',
            '--root',
            join(at, 'store'),
            '--runroot',
            join(at, 'run'),
            'pull',
            '-q',
            '--tls-verify=false',
            reference,
          ]),
        ]
      : []),
  ]
}

function has(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined
}

async function makeFiles({ files, fileBytes }: PullOptions): ReturnType<typeof makeImage> {
  const content = halfRandom(8 * 2 ** 20)
  const layers = await Promise.all(
    Array.from({ length: LAYERS }, (_, layer) =>
      makeTar(membersOf(layer, Math.ceil(files / LAYERS), fileBytes, content)),
    ),
  )
  return makeImage({ layers, config: { Cmd: ['/none'] } })
}

function membersOf(layer: number, files: number, fileBytes: number, content: Buffer): LayerMember[] {
  const top = `usr/share/layer${layer}`
  const members: LayerMember[] = [{ name: top, type: 'directory', mode: 0o755 }]
  for (let index = 0; index < files; index++) {
    const directory = `${top}/${Math.floor(index / FILES_A_DIRECTORY)}`
    if (index % FILES_A_DIRECTORY === 0) members.push({ name: directory, type: 'directory', mode: 0o755 })
    const at = (index * 7919) % (content.length - fileBytes)
    members.push({ name: `${directory}/file${index}`, mode: 0o644, content: content.subarray(at, at + fileBytes) })
  }
  return members
}

/** Bytes that gzip to about 40 %, the same in every run: 24 random bytes in each 64. */
function halfRandom(size: number): Buffer {
  const bytes = Buffer.alloc(size, 0x20)
  let state = 2463534242
  for (let at = 0; at < size; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    if (at % 64 < 24) bytes[at] = state & 0xff
  }
  return bytes
}
