import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { pullImage } from '../../src/images/pull.ts'
import { openImageStore } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import { packageRoot } from '../../src/syscall/package-root.ts'
import { type FreshMachine, makeFreshMachine, whyNoFreshMachine } from './fixtures/fresh-machine.ts'
import { pushBusybox } from './fixtures/images.ts'
import { readmeBlock, unmarkedBlocks } from './fixtures/readme.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

const PROJECT = packageRoot()

const unavailable = await whyNoFreshMachine()
const notRun = unavailable === undefined ? '' : ` (not run: ${unavailable})`

describe.skipIf(unavailable !== undefined)(`the two commands of README.md on a fresh machine${notRun}`, () => {
  let machine: FreshMachine

  beforeAll(async () => {
    machine = await makeFreshMachine()
  }, 240_000)
  afterAll(() => machine.remove())

  it('the first builds the checkout and runs a container', async () => {
    const command = readmeBlock('first-run')
    const { exitCode, stdout, stderr } = await machine.run(command)
    expect({ exitCode, stdout }, stderr).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^uid=0\(root\)/) })
    const [, hostname = '', ...processes] = stdout.split('\n')
    expect(hostname).toMatch(/^[0-9a-f]{12}$/)
    expect(processes.map((line) => line.trim().split(/\s+/).at(-1))).toEqual(['CMD', 'sh', 'ps'])
    for (const said of ['apt-get install', 'npm ci', 'compiling native/', 'building dist/'])
      expect(stderr).toContain(said)
    // Root did no more than it had to.
    const owners = await machine.run('stat -c %U node_modules dist native/*/stage | sort -u')
    expect(owners.stdout).toBe('me')
  }, 240_000)

  it('a second start installs and builds nothing', async () => {
    const { exitCode, stderr } = await machine.run(readmeBlock('first-run'))
    expect({ exitCode, stderr: stderr.replace(/^tscrun: warning: .*\n?/m, '') }).toEqual({ exitCode: 0, stderr: '' })
  })

  it('two starts at once build once', async () => {
    const command = readmeBlock('first-run').trim()
    const { exitCode, stdout, stderr } = await machine.run(`rm -rf dist; ${command} & ${command} & wait`)
    expect(exitCode, stderr).toBe(0)
    expect(stdout.match(/^uid=0\(root\)/gm)).toHaveLength(2)
    expect(stderr.match(/building dist\//g)).toHaveLength(1)
  })

  it('the owner of the checkout can build again what root has run', async () => {
    const { exitCode, stdout, stderr } = await machine.run('npm run -s build')
    expect(exitCode, stdout + stderr).toBe(0)
  })

  it.each([
    ['root', 'sudo '],
    ['its owner', 'sudo setpriv --reuid=4321 --regid=4321 --clear-groups env HOME=/ '],
  ])(
    'a checkout of somebody whom /etc/passwd does not know is built by %s',
    async (_, as) => {
      const copy = 'sudo rm -rf /srv/copy && sudo cp -a . /srv/copy && cd /srv/copy && rm -rf node_modules dist'
      const own = 'sudo chown -R 4321:4321 .'
      const { exitCode, stdout, stderr } = await machine.run(`${copy} && ${own} && ${as}./bin/tscrun version`)
      expect({ exitCode, stdout }, stderr).toEqual({ exitCode: 0, stdout: expect.stringMatching(/\d+\.\d+\.\d+/) })
      expect(stderr).toContain('npm ci')
      const owners = await machine.run('stat -c %u /srv/copy/node_modules /srv/copy/dist | sort -u; ls -A /tmp')
      expect(owners.stdout).toBe('4321')
    },
    240_000,
  )

  it('the second installs what tests need and runs them', async () => {
    // One level stands for all: this is one of the tests.
    const { exitCode, stdout, stderr } = await machine.run(`${readmeBlock('tests').trim()} -- golden`)
    expect(exitCode, stdout + stderr).toBe(0)
    expect(stdout).toMatch(/^[1-9]\d* passed, 0 failed$/m)
  }, 240_000)
})

describe('what README.md and examples/ show', () => {
  let registry: TestRegistry
  let directory: string
  let image: string

  /** A store that has `alpine`, for whoever sees it as the default one. */
  beforeAll(async () => {
    registry = await startRegistry()
    directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-readme-'))
    const applets = ['sort', 'tr', 'seq', 'nc', 'wc'].map(
      (name) => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' }) as const,
    )
    image = await pushBusybox(registry, 'alpine:latest', { layers: [applets] })
    const store = openImageStore({ root: join(directory, 'store') })
    await pullImage(store, parseReference(image), { platform: hostPlatform(), policy: 'missing' })
    fs.mkdirSync(join(directory, 'run'))
    fs.mkdirSync(join(directory, 'node_modules'))
    // What looks like the checkout and lies on a disk, as one does that is a volume: an overlay cannot be id-mapped.
    fs.mkdirSync(join(directory, 'checkout'))
    fs.symlinkSync(join(PROJECT, 'bin'), join(directory, 'checkout/bin'))
    fs.copyFileSync(join(PROJECT, 'package.json'), join(directory, 'checkout/package.json'))
    for (const name of ['tscrun', 'vitest']) {
      fs.symlinkSync(
        name === 'tscrun' ? PROJECT : join(PROJECT, 'node_modules', name),
        join(directory, 'node_modules', name),
      )
    }
    for (const path of ['/var/lib/tscrun', '/run/tscrun']) fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  })
  // The last of the commands takes it away.
  beforeEach(() => openImageStore({ root: join(directory, 'store') }).tag(image, 'alpine'))
  afterAll(async () => {
    fs.rmSync(directory, { recursive: true })
    await registry.stop()
  })

  /** Runs a shell script that sees the prepared store in the place of this machine's. */
  async function shell(script: string, cwd = PROJECT) {
    const mounts = [
      `mount --bind ${directory}/store /var/lib/tscrun`,
      `mount --bind ${directory}/run /run/tscrun`,
      `cd ${cwd}`,
    ].join('\n')
    return execa('unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', `${mounts}\n${script}`], {
      reject: false,
      stdin: 'ignore',
      env: { NODE: process.execPath, IMAGE: image },
    })
  }

  it('the commands do what they say', async () => {
    const commands = readmeBlock('commands').replaceAll('sudo ', '').replace('pull alpine', `pull ${image}`)
    const { exitCode, stdout, stderr } = await shell(commands, join(directory, 'checkout'))
    expect(exitCode, `${stdout}${stderr}`).toBe(0)
    const lines = stdout.split('\n')
    for (const line of ['hello', 'package.json', 'hi', '1000', '3', 'ok', 'it ended with 3', 'job']) {
      expect(lines.map((found) => found.trim())).toContain(line)
    }
    expect(stdout).toMatch(/Exited \(3\)/)
    expect(stdout).toMatch(/pivot_root root=fd:rootfs/)
    expect(stdout).toMatch(/^ok +kernel/m)
    expect(stdout).toMatch(/Untagged: (docker\.io\/library\/)?alpine:latest/)
  })

  it('the container of a registry', async () => {
    const command = readmeBlock('registry-run').replaceAll('sudo ', '')
    const { exitCode, stdout, stderr } = await shell(command)
    expect(exitCode, stderr).toBe(0)
    expect(stdout).toMatch(/^uid=0\(root\) .*\n[0-9a-f]{12}\nPID .*\n +1 /)
  })

  it('a shell on a terminal', async () => {
    const command = readmeBlock('terminal').replaceAll('sudo ', '').trim()
    const typed = "echo 'tty; echo $((6 * 7)); exit 5'"
    const { exitCode, stdout } = await shell(`${typed} | script -qec '${command}' /dev/null`)
    expect(exitCode, stdout).toBe(5)
    expect(stdout).toMatch(/\/dev\/pts\/0\r?\n42\r?$/m)
  })

  it('a container in the background', async () => {
    const { exitCode, stdout, stderr } = await shell(readmeBlock('background').replaceAll('sudo ', ''))
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    const [id = '', hostname, ...rest] = stdout.trim().split('\n')
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(hostname).toBe(id.slice(0, 12))
    expect(rest).toEqual(['up', 'web', 'web', 'web'])
  })

  it('a container that a program starts', async () => {
    const file = join(directory, 'container.mjs')
    fs.writeFileSync(file, readmeBlock('container'))
    const { exitCode, stdout, stderr } = await shell(`"$NODE" ${file}`, directory)
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toMatch(/^listening\n[0-9a-f]{12}\n$/)
  })

  it('all of it is run by a test, but what takes minutes', () => {
    expect(unmarkedBlocks()).toEqual(["import { run } from 'tscrun'", 'sudo npm run bench'])
  })

  it.each([
    ['esm', 'mjs', ['hello', 'a', 'b', '4 no such thing', '1', '2', '3']],
    ['cjs', 'cjs', ['box']],
  ])('the library from %s', async (block, extension, expected) => {
    const file = join(directory, `example.${extension}`)
    fs.writeFileSync(file, readmeBlock(block))
    const { exitCode, stdout, stderr } = await shell(`"$NODE" ${file}`, directory)
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    const lines = stdout.split('\n')
    expect(lines.filter((line) => line !== '')).toEqual(expected)
  })

  it.each([
    ['sandbox.mjs', /^65534\ncannot write\nit took too long$/],
    ['pipe.cjs', /^}\n.*require\('tscrun'\)/ms],
    ['pull-with-progress.mjs', /image [0-9a-f]{12}, manifest sha256:/],
  ])('examples/%s', async (name, expected) => {
    const { exitCode, stdout, stderr } = await shell(`"$NODE" examples/${name} "$IMAGE"`)
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toMatch(expected)
  })

  it('examples/in-a-test.test.mjs', async () => {
    fs.copyFileSync(join(PROJECT, 'examples/in-a-test.test.mjs'), join(directory, 'in-a-test.test.mjs'))
    const { exitCode, stdout, stderr } = await shell('"$NODE" node_modules/vitest/vitest.mjs run in-a', directory)
    expect(exitCode, `${stdout}${stderr}`).toBe(0)
    expect(stdout).toMatch(/3 passed/)
  })

  it('examples/server.test.ts, which leaves nothing behind', async () => {
    fs.copyFileSync(join(PROJECT, 'examples/server.test.ts'), join(directory, 'server.test.ts'))
    const tscrun = join(PROJECT, 'bin/tscrun')
    // What the commands of README.md keep is no matter here.
    const command = `${tscrun} container prune -f >/dev/null; "$NODE" node_modules/vitest/vitest.mjs run server; ${tscrun} ps -aq`
    const { exitCode, stdout, stderr } = await shell(command, directory)
    expect(exitCode, `${stdout}${stderr}`).toBe(0)
    expect(stdout).toMatch(/3 passed/)
    expect(stdout.trimEnd().split('\n').at(-1)).not.toMatch(/^[0-9a-f]{12}$/)
  })
})
