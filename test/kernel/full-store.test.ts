import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { pushBusybox } from '../clients/fixtures/images.ts'
import { startRegistry } from '../clients/fixtures/registry.ts'
import { type Ended, expectOneLine, TSCRUN } from './fixtures/machine.ts'

let directory: string
/** A filesystem of its own, whose room a test chooses. */
let disk: string
let store: string
let image: string

beforeAll(async () => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'tscrun-full-')))
  disk = join(directory, 'disk')
  store = join(disk, 'store')
  mkdirSync(disk)
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tscrun-test', disk])
  const registry = await startRegistry()
  try {
    image = await pushBusybox(registry, 'full:1')
    await tscrun(['pull', '-q', '--tls-verify=false', image])
  } finally {
    await registry.stop()
  }
  // Every directory of the store is there.
  const { exitCode, stderr } = await run()
  if (exitCode !== 0) throw new Error(stderr)
})
afterAll(async () => {
  await execa('umount', [disk])
  rmSync(directory, { recursive: true })
})

afterEach(makeRoom)

async function makeRoom(): Promise<void> {
  await resize('nr_inodes=100000')
  rmSync(join(disk, 'fill'), { force: true })
}

function tscrun(args: readonly string[]): Promise<Ended> {
  const globals = ['--root', store, '--runroot', join(directory, 'run'), '--log-level', 'error']
  return execa(TSCRUN, [...globals, ...args], { reject: false, stdin: 'ignore' }) as unknown as Promise<Ended>
}

const run = (flags: readonly string[] = ['--rm']): Promise<Ended> =>
  tscrun(['run', ...flags, image, 'sh', '-c', 'echo ran'])

/** What containers have left, on the disk and in the run directory. */
function left(): readonly string[] {
  const inStore = ['containers', 'names', 'ranges'].flatMap((kind) =>
    readdirSync(join(store, kind)).map((name) => `${kind}/${name}`),
  )
  return [...inStore, ...readdirSync(join(directory, 'run'))]
}

const resize = (option: string): Promise<unknown> => execa('mount', ['-o', `remount,${option}`, disk])

/** Runs with no room at all, then with ever more, until there is enough; answers what the failures said. */
async function runWithEverMore(
  limit: (room: number) => Promise<unknown>,
  flags?: readonly string[],
): Promise<string[]> {
  const said: string[] = []
  for (let room = 0; room < 50; room++) {
    await limit(room)
    const { exitCode, stdout, stderr } = await run(flags)
    if (exitCode === 0) return said
    expect({ exitCode, stdout: stdout.replace('ran', '') }, stderr).toEqual({ exitCode: 125, stdout: '' })
    expectOneLine(stderr, /^tscrun: [^\n]*ENOSPC[^\n]*\([^\n]+\)$/)
    said.push(stderr)
    if (flags === undefined) expect(left(), stderr).toEqual([])
  }
  throw new Error(`never enough: ${said.at(-1)}`)
}

/** So many files more than there are. */
async function limitFiles(more: number): Promise<void> {
  const { files, ffree } = statfsSync(disk)
  await resize(`nr_inodes=${files - ffree + more}`)
}

/** So many blocks are free. */
async function limitBlocks(free: number): Promise<void> {
  rmSync(join(disk, 'fill'), { force: true })
  const { bsize, bavail } = statfsSync(disk)
  writeFileSync(join(disk, 'fill'), Buffer.alloc((bavail - free) * bsize))
}

describe('a start for which the disk has no room', () => {
  it('for files ends in one line wherever that shows, and leaves nothing', async () => {
    const said = await runWithEverMore(limitFiles)
    // Before, while and after its own directory is made.
    for (const words of [/write to the store \S+ or/, /\/names\//, /upper/, /\/etc\/host/]) {
      expect(said).toContainEqual(expect.stringMatching(words))
    }
    await makeRoom()
    expect(await run()).toMatchObject({ exitCode: 0, stdout: 'ran' })
    expect(left()).toEqual([])
  })

  it.each([
    ['files', limitFiles],
    ['blocks', limitBlocks],
  ])('for %s of one that is kept leaves at most what the next command puts right', async (_, limit) => {
    expect(await runWithEverMore(limit, [])).toContainEqual(expect.stringMatching(/\/container\.json: ENOSPC/))
    await makeRoom()
    const { stdout } = await tscrun(['ps', '-aq'])
    const { exitCode, stderr } = await tscrun(['rm', ...stdout.split('\n')])
    expect(exitCode, stderr).toBe(0)
    expect(left()).toEqual([])
  })
})
