import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, isAlive, useMachine, TSCRUN, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { out, inspected, monitorOf, ended, untilHealth } = backgroundOf(() => machine)

/** Wherever the launcher would find it. */
const NODES = [
  ...new Set(
    [process.execPath, '/usr/local/bin/node', '/usr/bin/node'].filter(existsSync).map((path) => realpathSync(path)),
  ),
]

/** `run -d`, in mounts of its own, in which Node is no program any more from then on. */
async function startThenHideNode(name: string, flags: readonly string[], script: string): Promise<string> {
  const run = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, 'run', '-d', '--name', name, ...flags]
  const lines = `"$@" && for node in ${NODES.join(' ')}; do mount --bind /dev/null $node; ! $node --version 2>/dev/null || exit 99; done`
  const command = [...run, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script]
  const mounts = ['--mount', '--propagation', 'private', 'sh', '-c', lines, 'sh']
  const { stdout, stderr } = await execa('unshare', [...mounts, ...command])
  expect(stderr).toBe('')
  return stdout.trim()
}

const mountsOf = (pid: number): string => readlinkSync(`/proc/${pid}/ns/mnt`)

/** Programs that run in these mounts, which no container's are: the monitor and what it has started. */
function programsIn(mounts: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return readlinkSync(`/proc/${name}/ns/mnt`) === mounts
          ? [readFileSync(`/proc/${name}/comm`, 'latin1').trim()]
          : []
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return []
        throw error
      }
    })
}

describe('a monitor on a machine without Node', () => {
  it('starts a container again and again, as its policy says', async () => {
    const seen = new Set<string>()
    const id = await startThenHideNode('again', ['--restart', 'on-failure:4'], 'echo life; sleep 0.2; exit 3')
    const monitor = monitorOf('again')
    const mounts = mountsOf(monitor)
    await until(() => {
      for (const program of programsIn(mounts)) seen.add(program)
      return !isAlive(monitor)
    })
    const exit = JSON.parse(readFileSync(join(machine.store, 'containers', id, 'exit.json'), 'utf8')) as object
    expect(exit).toMatchObject({ restarts: 4, status: 3 << 8 })
    // A stage before its exec, a first process before it has its mounts; never anything else.
    expect([...seen].filter((program) => !program.startsWith('tscrun-'))).toEqual([])
    expect(await out('logs', 'again')).toBe('life\n'.repeat(5))
  })

  it('makes health checks, does what was asked for about a sick container, and removes it', async () => {
    const seen = new Set<string>()
    const flags = ['--health-cmd', 'test ! -e /sick', '--health-interval', '50ms', '--health-retries', '1']
    const script = 'until [ -e /tmp/go ]; do sleep 0.05; done; touch /sick; exec sleep 1000'
    const id = await startThenHideNode(
      'checked',
      [...flags, '--health-on-failure', 'stop', '--stop-timeout', '0'],
      script,
    )
    const mounts = mountsOf(monitorOf('checked'))
    await untilHealth(id, ({ checks }) => {
      for (const program of programsIn(mounts)) seen.add(program)
      return checks.length >= 3
    })
    expect(await inspected('checked', '{{.State.Health.Status}}')).toBe('healthy')
    await out('exec', 'checked', 'touch', '/tmp/go')
    await ended('checked')
    expect(await inspected('checked', '{{.State.ExitCode}} {{.State.Health.Status}}')).toBe('137 unhealthy')
    expect([...seen].filter((program) => !program.startsWith('tscrun-'))).toEqual([])
    expect(await out('events', '--since', '10m', '--stream=false', '--format', '{{.Action}}')).toMatch(
      /health_status: healthy\n(.*\n)*health_status: unhealthy\n/,
    )
  })
})
