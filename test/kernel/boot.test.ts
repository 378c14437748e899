import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

async function out(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return stdout.trim()
}

const make = (verb: readonly string[], name: string, ...flags: string[]): Promise<string> =>
  out(...verb, '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000')
const detach = (name: string, ...flags: string[]): Promise<string> => make(['run', '-d'], name, ...flags)
const create = (name: string, ...flags: string[]): Promise<string> => make(['create'], name, ...flags)
const running = async (): Promise<string[]> => (await out('ps', '--format', '{{.Names}}')).split('\n').toSorted()

describe('start --all', () => {
  it('starts what does not run, joined containers after the ones they join, and nothing twice', async () => {
    await create('target')
    await create('joiner', '--network', 'container:target')
    await detach('there')
    expect(await out('start', '--all')).toBe('target\njoiner')
    expect(await running()).toEqual(['joiner', 'target', 'there'])
    expect(await out('start', '--all')).toBe('')
  })

  it('goes on behind one that cannot be started: a line for it, and the exit code', async () => {
    await create('target')
    await create('joiner', '--network', 'container:target')
    await create('other')
    await out('rm', 'target')
    const { exitCode, stdout, stderr } = await machine.tscrun(['start', '--all'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: 'other\n' })
    expectOneLine(stderr, /^tscrun: start joiner: container [0-9a-f]{12}, whose network namespace it joins, has been/)
  })

  it('with a filter starts what a boot is to bring up: always, and unless-stopped unless somebody stopped it', async () => {
    await detach('always', '--restart', 'always')
    await detach('unless', '--restart', 'unless-stopped')
    await detach('failing', '--restart', 'on-failure')
    await detach('stopped', '--restart', 'unless-stopped')
    await detach('stopped-always', '--restart', 'always')
    await create('never-started', '--restart', 'always')
    await out('stop', '-t', '0', 'stopped', 'stopped-always')
    expect((await out('stop', '--all', '--shutdown', '-t', '0')).split('\n').length).toBe(3)
    // The machine comes up again.
    rmSync(machine.runRoot, { recursive: true })
    expect(await out('start', '--all', '--filter', 'should-start-on-boot=true')).toBe('always\nunless\nstopped-always')
    await out('stop', '--all', '-t', '0')
    expect(await out('start', '--all', '--filter', 'should-start-on-boot=true')).toBe('always\nstopped-always')
    await out('stop', '--all', '-t', '0', '--filter', 'restart-policy=always')
    expect(await out('start', '--all', '--filter', 'restart-policy=unless-stopped')).toBe('unless\nstopped')
    expect(await running()).toEqual(['stopped', 'unless'])
  })

  it('knows that somebody stopped a container that was waiting for its next start', async () => {
    const flags = ['--name', 'again', '--restart', 'unless-stopped', '--rootfs', `${machine.rootfs}:O`]
    await out('run', '-d', ...flags, 'sh', '-c', 'exit 3')
    await out('stop', 'again')
    expect(await out('start', '--all', '--filter', 'should-start-on-boot=true')).toBe('')
  })

  it('takes containers or --all, not both and not neither', async () => {
    for (const [verb, ...words] of [
      ['start'],
      ['start', '--all', 'x'],
      ['stop'],
      ['stop', '--filter', 'name=x', 'x'],
    ]) {
      const { exitCode, stderr } = await machine.tscrun([verb ?? '', ...words])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, new RegExp(`^tscrun: ${verb}`))
    }
  })
})

describe('generate systemd', () => {
  it('prints units that systemd-analyze has nothing to say about, whatever the words are', async () => {
    await create('target', '-e', 'A=100% of $HOME "quoted" \\ and\nmore', '--label', 'a=b c')
    await create('joiner', '--network', 'container:target', '--restart', 'always')
    const units = {
      'container-target.service': ['--new', 'target'],
      'container-joiner.service': ['--time=3', 'joiner'],
      'tscrun-containers.service': ['--all'],
    }
    const files = await Promise.all(
      Object.entries(units).map(async ([file, words]) => {
        const path = join(machine.directory, file)
        writeFileSync(path, `${await out('generate', 'systemd', ...words)}\n`)
        return path
      }),
    )
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], {
      encoding: 'utf8',
    })
    expect({ status, said: `${stdout}${stderr}` }).toEqual({ status: 0, said: '' })
    const joiner = await out('generate', 'systemd', '--time=3', 'joiner')
    expect(joiner.split('\n')).toEqual(
      expect.arrayContaining(['Requires=container-target.service', 'Restart=always', 'TimeoutStopSec=23']),
    )
  })

  it('--new repeats the command that made it, whatever a shell or systemd would read into its words', async () => {
    await create(
      'made',
      '-e',
      'A=100% of $HOME "quoted" \\ and\nmore',
      '--label=a=b c',
      '--restart',
      'always',
      '-it',
      '--cidfile',
      `${machine.directory}/id`,
    )
    const unit = (await out('generate', 'systemd', '--new', 'made')).split('\n')
    const flags = `--root ${machine.store} --runroot ${machine.runRoot}`
    expect(unit).toEqual(
      expect.arrayContaining([
        `ExecStartPre=-${TSCRUN} ${flags} rm --force made`,
        String.raw`ExecStart=${TSCRUN} ${flags} run --detach --rm --monitor-pidfile=%t/tscrun-made.pid --name=made "--env=A=100%% of $$HOME \"quoted\" \\ and\nmore" "--label=a=b c" --interactive=true --tty=true --rootfs=${machine.rootfs}:O -- sleep 1000`,
        `ExecStop=-${TSCRUN} ${flags} stop --time=10 made`,
        'Restart=always',
      ]),
    )
    const quadlet = (await out('generate', 'quadlet', 'made')).split('\n')
    expect(quadlet).toEqual(
      expect.arrayContaining([
        'ContainerName=made',
        String.raw`Environment="A=100%% of $$HOME \"quoted\" \\ and\nmore"`,
        'PodmanArgs=--tty=true',
        `Rootfs=${machine.rootfs}:O`,
        'Network=none',
        'Exec=sleep 1000',
        'Restart=always',
      ]),
    )
  })

  it('gives the monitor to whoever supervises it: its pid, and the exit code of the container', async () => {
    const file = join(machine.directory, 'pid')
    // A subreaper, as systemd is.
    const script = `import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
subprocess.run(sys.argv[1:], check=True)
pid = int(open("${file}").read())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`
    const flags = ['--root', machine.store, '--runroot', machine.runRoot, 'run', '-d', '--monitor-pidfile', file]
    const command = [TSCRUN, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', 'sleep 0.3; exit 9']
    const { stdout, stderr } = spawnSync('python3', ['-c', script, ...command], { encoding: 'utf8' })
    expect({ stdout: stdout.trim().split('\n').at(-1), stderr }).toEqual({ stdout: '9', stderr: '' })
  })

  it('says what is missing', async () => {
    await create('made')
    for (const [words, message] of [
      [['systemd'], /needs a container, or --all/],
      [['systemd', '--all', 'made'], /needs a container, or --all/],
      [['kube', 'made'], /generate kube: unknown kind/],
      [['quadlet'], /generate quadlet: needs a container/],
      [['quadlet', '--new', 'made'], /generate quadlet: --new is for systemd/],
      [['systemd', '--restart-policy', 'never', 'made'], /--restart-policy never: not one of systemd/],
      [['systemd', 'absent'], /container absent: there is none/],
    ] as const) {
      const { exitCode, stderr } = await machine.tscrun(['generate', ...words])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, message)
    }
  })
})
