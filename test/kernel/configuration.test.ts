import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()
let file: string
beforeAll(() => {
  file = join(machine.directory, 'config.toml')
  writeFileSync(
    file,
    `root = "${machine.store}"
runroot = "${machine.runRoot}"
ulimits = ["nofile=77:99"]
capabilities = ["CHOWN", "KILL"]
dns = ["192.0.2.9"]
hosts = ["far:192.0.2.1"]
id_pool = "1500000000:131072"
log_driver = "json-file"
stop_timeout = 0
`,
  )
})
afterAll(() => {
  expectNothingLeft(machine)
})

/** `tscrun` with the file and without flags for its directories. */
async function configured(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return execa(TSCRUN, args, { env: { TSCRUN_CONFIG: file, ...env }, reject: false, stdin: 'ignore' })
}

it('what the file sets is so in a container, unless a flag or the environment says otherwise', async () => {
  const script =
    'ulimit -n; grep CapBnd /proc/self/status; cat /etc/resolv.conf; grep far /etc/hosts; cat /proc/self/uid_map'
  const run = (...flags: string[]) => ['run', '--rm', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script]
  const plain = await configured(run())
  expect(plain.stderr).toBe('')
  expect(plain.stdout.split(/\s+/).slice(0, 7)).toEqual([
    '77',
    'CapBnd:',
    '0000000000000021',
    'nameserver',
    '192.0.2.9',
    '192.0.2.1',
    'far',
  ])
  expect(plain.stdout).toMatch(/ 15000(?:00000|65536) +65536$/)
  const other = await configured(run('--ulimit', 'nofile=50', '--cap-add', 'SETUID', '--dns', '192.0.2.8'), {
    TSCRUN_HOSTS: 'far:192.0.2.77',
  })
  expect(other.stdout.split(/\s+/).slice(0, 7)).toEqual([
    '50',
    'CapBnd:',
    '00000000000000a1',
    'nameserver',
    '192.0.2.8',
    '192.0.2.77',
    'far',
  ])
})

it('info names the source of each value', async () => {
  const template =
    '{{.settings.log_driver.source}} {{.settings.pull.value}} {{.settings.pull.source}} {{.settings.root.source}}'
  const flags = ['--root', machine.store, 'info', '--format', template]
  expect((await configured(flags, { TSCRUN_PULL: 'never' })).stdout).toBe(`${file} never TSCRUN_PULL flag`)
  expect((await configured(flags)).stdout).toBe(`${file} missing default flag`)
})

it('the file is a default for what runs long: the driver of its log, and how long a stop waits', async () => {
  const script = ['--rootfs', `${machine.rootfs}:O`, 'sh', '-c', 'trap : TERM; echo out; while :; do sleep 0.1; done']
  const { stdout: id } = await configured(['run', '-d', ...script])
  expect((await configured(['inspect', '-f', '{{.HostConfig.LogConfig.Type}}', id])).stdout).toBe('json-file')
  expect((await configured(['stop', id])).stderr).toBe('')
  expect((await configured(['inspect', '-f', '{{.State.ExitCode}}', id])).stdout).toBe('137')
  expect((await configured(['rm', id])).stderr).toBe('')
})

it('a mistake in it is one line that says where, whatever the command', async () => {
  const { exitCode, stderr } = await configured(['ps'], { TSCRUN_STOP_TIMEOUT: 'soon' })
  expect(exitCode).toBe(125)
  expectOneLine(`${stderr}\n`, /^tscrun: TSCRUN_STOP_TIMEOUT: stop_timeout: not a whole number/)
})
