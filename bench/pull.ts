import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { execa } from 'execa'
import { pushImages } from '../test/clients/fixtures/images.ts'
import { startRegistry } from '../test/clients/fixtures/registry.ts'
import { readDirectory, readTree, type Tree, treeDifferences } from '../test/clients/fixtures/trees.ts'
import { containerdContender, hasContainerd } from './containerd.ts'
import { LAYERS, makeBenchImage } from './image.ts'
import { type Contender, command, interleave } from './measure.ts'
import type { Contest, Group, Stage } from './starts.ts'

const OWN = 'tscrun pull'
const UMOCI = 'skopeo copy, umoci unpack'
const SHOWN_DIFFERENCES = 5
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
  const { files, fileBytes, rounds } = options
  const image = await makeBenchImage(join(stage.work, 'image'), files, fileBytes)
  const megabytes = Math.round((files * fileBytes) / 1e6)
  const groups: Group[] = []
  let oracle: Tree | undefined
  for (const format of FORMATS) {
    // One each: skopeo takes blobs of the other format where it knows that the registry has them.
    const registry = await startRegistry()
    try {
      const flags = format === 'gzip' ? [] : ['--dest-compress', '--dest-compress-format', format]
      const reference = await pushImages(registry.host, 'bench/files:latest', [image], flags)
      const { list, last } = contenders(stage, timer, { reference, format })
      const rows = await interleave(list, rounds)
      const what = `${files} files, ${megabytes} MB, ${LAYERS} layers, ${await packedSize(reference)} MB`
      const group = { name: `pull, ${format}`, title: `pull and unpack, ${what} of ${format}, ms`, rows, subject: OWN }
      const [own, umocis] = [last.get(OWN), last.get(UMOCI)]
      if (own === undefined) throw new Error(`${OWN} has run`)
      // The one tree for all formats: Debian's umoci knows no zstd.
      if (umocis !== undefined) oracle = await readDirectory(join(umocis, 'bundle/rootfs'))
      if (oracle === undefined) console.error('bench: without umoci: its tree is not compared with that of tscrun')
      const mount = [join(stage.root, 'bin/tscrun'), ...stores(own), 'image', 'mount', reference]
      groups.push(oracle === undefined ? group : { ...group, tree: equalTrees(await readTree(mount), oracle) })
    } finally {
      await registry.stop()
    }
  }
  return groups
}

/** Throws where tscrun and umoci have made different things of one image. */
function equalTrees(own: Tree, umocis: Tree): NonNullable<Group['tree']> {
  const unlike = treeDifferences(own, umocis)
  if (unlike.length > 0) {
    const shown = unlike.slice(0, SHOWN_DIFFERENCES).join('\n  ')
    throw new Error(`${OWN}: ${unlike.length} names are not as umoci has unpacked them (tscrun's first):\n  ${shown}`)
  }
  return { entries: own.size, equalTo: 'umoci' }
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

interface Contenders {
  readonly list: readonly Contender[]
  /** Where each was the last time. */
  readonly last: ReadonlyMap<string, string>
}

function contenders({ root, work }: Stage, timer: string, { reference, format }: Pulled): Contenders {
  let round = 0
  const last = new Map<string, string>()
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
    run: async () => {
      // A signal that ends the bench is looked at only in between.
      await setImmediate()
      const at = place()
      last.set(name, at)
      return command(name, argv(at), { timer }).run()
    },
  })
  const list = [fresh(OWN, (at) => [join(root, 'bin/tscrun'), ...stores(at), 'pull', '-q', reference])]
  // Debian's umoci knows no zstd.
  if (format === 'gzip' && has('skopeo') && has('umoci')) {
    const both =
      'skopeo copy -q --src-tls-verify=false "docker://$1" "oci:$2/oci:image" && umoci unpack --image "$2/oci:image" "$2/bundle"'
    list.push(fresh(UMOCI, (at) => ['sh', '-c', both, 'sh', reference, at]))
  }
  if (hasContainerd()) list.push(containerdContender('ctr images pull', { timer, reference, place }))
  if (has('podman')) list.push(podman(timer, reference, place))
  return { list, last }
}

const stores = (at: string): string[] => ['--root', join(at, 'store'), '--runroot', join(at, 'run')]

function podman(timer: string, reference: string, place: () => string): Contender {
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
