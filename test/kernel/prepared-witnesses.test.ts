import {
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, normalize } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, useMachine, PROJECT, TSCRUN } from './fixtures/machine.ts'
import { SECTIONS, sectionsOf, witnessesOf } from './fixtures/prepared-decoder.ts'
import { expectNode, preparedDirectory, preparedFiles, request, WITHOUT_NODE } from './fixtures/prepared.ts'

const machine = useMachine()
afterEach(() => {
  expectNothingLeft(machine)
})

/** Of the only start that is kept. */
function onlyFile(): string {
  const [name = '', ...more] = readdirSync(preparedDirectory(machine))
  expect(more).toEqual([])
  return join(preparedDirectory(machine), name)
}

function forgetAll(): void {
  rmSync(preparedDirectory(machine), { recursive: true, force: true })
}

describe('a start is made anew by Node', () => {
  it('where a variable, a file of variables or the directory of the caller is another one', async () => {
    const file = join(machine.directory, 'variables')
    writeFileSync(file, 'FROM_FILE=1\nHANDED\n')
    const asked = request(machine, ['--env', 'TYPED', '--env-file', file], ['env'])
    const env = { TYPED: 'one', HANDED: 'two', ELSE: 'ignored' }
    expect((await asked.prepare({ env })).stdout).toMatch(/TYPED=one/)
    expect((await asked.replay({ env: { ...env, ELSE: 'other' } })).stdout).toMatch(/HANDED=two/)
    await expectNode(asked.replay({ env: { ...env, TYPED: 'other' } }))
    await expectNode(asked.replay({ env: { ...env, HANDED: '' } }))
    await expectNode(asked.replay({ env, cwd: '/' }))
    writeFileSync(file, 'FROM_FILE=2\nHANDED\n')
    await expectNode(asked.replay({ env }))
  })

  it('where all variables of a prefix are asked for', async () => {
    const before = preparedFiles(machine)
    const asked = request(machine, ['--env', 'PRE*'], ['env'])
    for (let tries = 0; tries < 2; tries++)
      expect((await asked.again({ env: { PRE_FIX: 'x' } })).stdout).toContain('PRE_FIX=x')
    expect(preparedFiles(machine)).toEqual(before)
    await expectNode(asked.replay())
  })

  it('where the accounts or the mode of the root filesystem, or the source of a volume, are others', async () => {
    const source = join(machine.directory, 'source')
    mkdirSync(source)
    const asked = request(machine, ['--volume', `${source}:/v`, '--user', 'alice'], ['id'])
    const isAlice = /uid=1000\(alice\)/
    expect((await asked.prepare()).stdout).toMatch(isAlice)
    // What is in it is not part of the preparation.
    writeFileSync(join(source, 'file'), '')
    expect((await asked.replay()).stdout).toMatch(isAlice)
    renameSync(source, `${source}.before`)
    mkdirSync(source)
    await expectNode(asked.replay())
    await asked.prepare()
    const accounts = join(machine.rootfs, 'etc/passwd')
    writeFileSync(accounts, readFileSync(accounts, 'utf8').replace('alice:x:1000', 'alice:x:1001'))
    await expectNode(asked.replay())
    expect((await asked.prepare()).stdout).toMatch(/uid=1001\(alice\)/)
    writeFileSync(accounts, readFileSync(accounts, 'utf8').replace('alice:x:1001', 'alice:x:1000'))
    await asked.prepare()
    chmodSync(machine.rootfs, 0o751)
    await expectNode(asked.replay())
    chmodSync(machine.rootfs, 0o755)
  })

  it('where the limit on open files is another one, and not for limits that are inherited', async () => {
    const asked = request(machine, [], ['sh', '-c', 'ulimit -Hn; ulimit -c'])
    await asked.prepare()
    const line = [
      '--root',
      machine.store,
      '--runroot',
      machine.runRoot,
      'run',
      '--rm',
      '--rootfs',
      `${machine.rootfs}:O`,
      'sh',
      '-c',
      'ulimit -Hn; ulimit -c',
    ]
    const limited = async (
      limit: string,
    ): Promise<{ readonly exitCode?: number | undefined; readonly stdout: string }> =>
      execa('sh', ['-c', `ulimit ${limit}; exec "$@"`, 'sh', TSCRUN, ...line], { env: WITHOUT_NODE, reject: false })
    expect((await limited('-Hc 0')).stdout).toMatch(/\n0$/)
    const { stdout: hard } = await execa('sh', ['-c', 'ulimit -Hn'])
    expect((await limited(`-n ${Number(hard) - 1}`)).exitCode).toBe(125)
  })

  it('where a file of /etc or a mount is another one', async () => {
    const resolv = join(machine.directory, 'resolv.conf')
    writeFileSync(resolv, 'nameserver 10.9.9.9\n')
    const script = `
      run() { "$@"; }
      TSCRUN_NODE=${process.execPath} "$@" cat /etc/resolv.conf >/dev/null; sleep 0.1
      TSCRUN_NODE=${process.execPath} "$@" cat /etc/resolv.conf >/dev/null
      export TSCRUN_NODE=/nonexistent/node
      "$@" cat /etc/resolv.conf >/dev/null && echo same
      mount --bind ${resolv} /etc/resolv.conf
      "$@" cat /etc/resolv.conf >/dev/null 2>&1 || echo other file
      umount /etc/resolv.conf
      "$@" cat /etc/resolv.conf >/dev/null && echo same
      mount --bind ${machine.rootfs} ${machine.rootfs}
      "$@" cat /etc/resolv.conf >/dev/null 2>&1 || echo other mount`
    const line = [
      TSCRUN,
      '--root',
      machine.store,
      '--runroot',
      machine.runRoot,
      'run',
      '--rm',
      '--rootfs',
      `${machine.rootfs}:O`,
    ]
    const { stdout } = await execa('unshare', ['-m', 'sh', '-c', script, 'sh', ...line], { reject: false })
    expect(stdout).toBe('same\nother file\nsame\nother mount')
  })

  it('where tscrun itself is another one', async () => {
    const asked = request(machine, [], ['true'])
    await asked.prepare()
    for (const name of ['dist/run/main.cjs', `native/${process.arch}/stage`]) {
      expect((await asked.replay()).exitCode).toBe(0)
      // The time of its last change is that of a build.
      chmodSync(join(PROJECT, name), name.endsWith('stage') ? 0o755 : 0o644)
      await expectNode(asked.replay())
      await asked.prepare()
    }
  })

  it('where it is asked for, or Node is asked to say more, or something is set', async () => {
    const asked = request(machine, [], ['true'])
    await asked.prepare()
    expect((await asked.replay()).exitCode).toBe(0)
    await expectNode(asked.replay({ env: { TSCRUN_PREPARED: '0' } }))
    await expectNode(asked.replay({ env: { NODE_DEBUG: 'fs' } }))
    await expectNode(asked.replay({ env: { TSCRUN_PULL: 'never' } }))
    await expectNode(asked.replay({ env: { TSCRUN_CONFIG: '/nonexistent' } }))
  })
})

function parentsOf(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '')
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`)
}

/** Files that a start reads, and why no witness is needed. `ours`: made by the start itself. */
const EXPLAINED: readonly (readonly [why: string, paths: RegExp])[] = [
  [
    'Node and its libraries',
    /^\/(?:etc\/ld\.so|lib|usr\/lib|etc\/ssl\/openssl\.cnf|.*\/node$|.*\/lib(?:dl|c|m|pthread|gcc_s|stdc\+\+)\.so)/,
  ],
  // Its node is linked to libnode.so, which is looked for beside the program, too, and has parts of it as files.
  ["Debian's Node", /^\/usr\/(?:bin\/(?:glibc-hwcaps\/.*|libnode\.so[.\d]*)?|share\/(?:nodejs|zoneinfo-icu)\/.*)$/],
  [
    'what Node asks about its own process',
    /^\/proc\/(?:meminfo|version_signature|self\/(?:maps|exe|cgroup|status|stat))$|\/memory\.[\w.]+$|^\/sys\/fs\/cgroup\/.*(?:cpu\.max|memory)/,
  ],
  ['the search for Node', /\/node$/],
  ['tscrun itself: its two programs are witnesses, the rest is built with them', new RegExp(`^${PROJECT}`)],
  ['a directory above tscrun, whose own place is a witness', new RegExp(`^(?:${parentsOf(PROJECT).join('|')})/?$`)],
  ['a device', /^\/dev\/null$/],
  ['whether the own cgroup is gone when all is over', /^\/sys\/fs\/cgroup\/(?:.*\/)?tscrun\/[0-9a-f]{64}$/],
]

describe('everything that a start reads', () => {
  it.each([[[]], [['--volume', 'SOURCE:/v', '--user', 'alice', '--hostname', 'h']]])(
    'is a witness, or it is said why not: %s',
    async (words) => {
      forgetAll()
      // Where the store is, not where programs are: that may be an overlay, which cannot be id-mapped.
      const source = mkdtempSync(join(machine.directory, 'source-'))
      const flags = words.map((word) => word.replace('SOURCE', source))
      const [trace, asked] = [join(machine.directory, 'trace'), request(machine, flags, ['true'])]
      // Directories and compiled code are there.
      await asked.prepare()
      forgetAll()
      const line = [
        '--root',
        machine.store,
        '--runroot',
        machine.runRoot,
        'run',
        '--rm',
        ...flags,
        '--rootfs',
        `${machine.rootfs}:O`,
        'true',
      ]
      await execa('strace', ['-f', '-y', '-o', trace, '-e', 'trace=%file,statfs', '--', TSCRUN, ...line])
      const seen = witnessesOf(readFileSync(onlyFile()))
      expect(seen.length).toBeGreaterThan(30)
      const known = new Set(seen.flatMap(({ path, extra }) => [path, join(path, extra)]))
      // Of the directories above a place it only matters where they lead.
      for (const { kind, path } of seen) if (kind === 'place') for (const parent of parentsOf(path)) known.add(parent)
      const lines = readFileSync(trace, 'utf8').split('\n')
      // The stage does what the plan says; Node alone decides.
      const [node = ''] = lines
        .filter((text) => /execve\("[^"]*\/node",.* = 0$/.test(text))
        .map((text) => text.split(' ')[0])
      const begin = lines.findIndex((text) => /execve\("[^"]*\/node",.* = 0$/.test(text))
      const own = /\/(?:containers|names|ranges|run|prepared)\/|\/(?:prepared|run)$/
      const unknown = new Set<string>()
      for (const text of lines.slice(begin + 1)) {
        if (!text.startsWith(`${node} `) || /\b(?:mkdir|rename|unlink|symlink|rmdir|execveat|unlinkat)\w*\(/.test(text))
          continue
        for (const path of pathsIn(text)) {
          const relative = path.startsWith(machine.directory) && own.test(path.slice(machine.directory.length))
          if (relative || known.has(path) || EXPLAINED.some(([, pattern]) => pattern.test(path))) continue
          unknown.add(path)
        }
      }
      expect([...unknown]).toEqual([])
    },
  )
})

/** Of a call: its path, joined with the directory that it is relative to. */
function pathsIn(line: string): string[] {
  const call = /^\d+ +\w+\((.*)$/.exec(line)?.[1] ?? ''
  const path = /"((?:[^"\\]|\\.)*)"/.exec(call)?.[1]
  if (path === undefined || path === '') return []
  if (path.startsWith('/') && !call.startsWith('openat2') && !/^\d+</.test(call)) return [normalize(path)]
  const directory = /^\d+<([^>]*)>/.exec(call)?.[1]
  return [directory === undefined ? path : join(directory, path)]
}

describe('a file that nobody of ours has written', () => {
  /** The bytes of a good one, and what is done to it; then Node has to be asked. */
  async function expectRefused(change: (path: string) => void): Promise<void> {
    const asked = request(machine, ['--label', 'hostile=1'], ['true'])
    forgetAll()
    await asked.prepare()
    expect((await asked.replay()).exitCode).toBe(0)
    change(onlyFile())
    await expectNode(asked.replay())
    // Node puts a good one in its place.
    forgetAll()
  }

  it.each<readonly [string, (path: string) => void]>([
    ['belongs to somebody else', (path) => chownSync(path, 1000, 1000)],
    ['can be written by others', (path) => chmodSync(path, 0o620)],
    ['lies in a directory that others may enter', (path) => chmodSync(join(path, '..'), 0o755)],
    [
      'is a link',
      (path) => (
        renameSync(path, join(machine.directory, 'elsewhere')), symlinkSync(join(machine.directory, 'elsewhere'), path)
      ),
    ],
    ['has two names', (path) => linkSync(path, join(machine.directory, 'second'))],
    ['is empty', (path) => writeFileSync(path, '')],
    ['is too long', (path) => writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(2 ** 20)]))],
    ['is of another version', (path) => writeFileSync(path, changed(readFileSync(path), 4, 1))],
    [
      'is for other words',
      (path) => writeFileSync(path, changed(readFileSync(path), sectionsOf(readFileSync(path)).key.offset + 3, 0x40)),
    ],
  ])('is passed over where it %s', async (_, change) => {
    await expectRefused(change)
    rmSync(join(machine.directory, 'second'), { force: true })
  })

  it('ends nothing but the replay, wherever it is cut or changed', async () => {
    const asked = request(machine, ['--label', 'hostile=2'], ['true'])
    forgetAll()
    await asked.prepare()
    const path = onlyFile()
    const good = readFileSync(path)
    const copy = join(machine.directory, 'good')
    copyFileSync(path, copy)
    const sections = sectionsOf(good)
    const mutants = [
      ...[15, 16, 50, 104, 500, good.length >> 1, good.length - 8].map((size) => good.subarray(0, size)),
      // Sizes and offsets in the header, in each witness, mark and saying.
      ...Array.from({ length: 4 + 2 * SECTIONS.length }, (_, index) => changed(good, 4 * index, 0xffffffff)),
      ...Array.from({ length: 7 }, (_, index) => changed(good, sections.witnesses.offset + 4 * index, 0x7fffffff)),
      ...[0, 4, 8].flatMap((at) => [
        changed(good, sections.planMarks.offset + at, 0xfffffff0),
        changed(good, sections.recordMarks.offset + at, 0xfffffff0),
      ]),
      ...[0, 8, 16, 24].map((at) => changed(good, sections.numbers.offset + at, 0xffffffff)),
      changed(good, sections.numbers.offset + 16, 0),
      changed(good, sections.places.offset + sections.places.size - 4, 0x41414141),
      changed(good, sections.plan.offset, 0),
    ]
    for (const mutant of mutants) {
      writeFileSync(path, mutant, { mode: 0o600 })
      const { exitCode, signal } = await asked.replay()
      // Done, or handed to Node; never a crash, and nothing is left.
      expect([signal, [0, 125].includes(exitCode ?? -1)]).toEqual([undefined, true])
      expectNothingLeft(machine)
    }
  }, 120_000)
})

function changed(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy.writeUInt32LE(value, at)
  return copy
}
