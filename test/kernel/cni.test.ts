import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { useHostNetwork } from './fixtures/host-network.ts'
import { type Ended, expectNothingLeft, expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
const net = useHostNetwork(machine)
let directory: string

beforeAll(async () => {
  directory = join(machine.store, '..', 'cni-net.d')
  mkdirSync(directory)
  const ipam = {
    type: 'host-local',
    dataDir: leases(),
    ranges: [[{ subnet: '10.88.7.0/24' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  }
  const bridge = { type: 'bridge', bridge: 'cni7', isGateway: true, ipMasq: true, ipam }
  list('web.conflist', 'web', [bridge, { type: 'portmap', capabilities: { portMappings: true } }])
  list('fixed.conflist', 'fixed', [
    { ...bridge, capabilities: { ips: true, mac: true } },
    { type: 'tuning', sysctl: { 'net.core.somaxconn': '77' } },
  ])
  list('late.conflist', 'late', [bridge, { type: 'refuses' }])
  list('absent.conflist', 'absent', [{ type: 'not-installed' }])
  // The plugin takes its masquerading back only while the namespace is there.
  writeFileSync(
    join(directory, 'one.conf'),
    JSON.stringify({ cniVersion: '0.4.0', name: 'one', ...bridge, ipMasq: false }),
  )
  // A plugin that fails in the specification's words.
  mkdirSync(plugins())
  writeFileSync(
    join(plugins(), 'refuses'),
    `#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || exit 0
cat > ${plugins()}/told
printf '{"cniVersion":"1.0.0","code":100,"msg":"no more","details":"of\\\\nthese"}'
exit 1
`,
  )
  chmodSync(join(plugins(), 'refuses'), 0o755)
})
afterEach(async () => {
  const { stdout } = await net.tscrun(['ps', '-aq'])
  const ids = stdout.split('\n').filter(Boolean)
  if (ids.length > 0) await cni(['rm', '-f', ...ids])
  await expectNothingAdded()
})

async function expectNothingAdded(): Promise<void> {
  expect(leased()).toEqual([])
  expect(await net.host('iptables -t nat -S | grep -F 10.88.7. || true')).toBe('')
  expect(await net.host('ip -br link show type veth | grep -v ^up0 || true')).toBe('')
  expectNothingLeft(machine)
}

const leases = (): string => join(machine.store, '..', 'cni-leases')
const plugins = (): string => join(machine.store, '..', 'cni-plugins')

function list(file: string, name: string, plugin: readonly object[]): void {
  writeFileSync(join(directory, file), JSON.stringify({ cniVersion: '1.0.0', name, plugins: plugin }))
}

/** Addresses that host-local has given out. */
function leased(): string[] {
  if (!existsSync(leases())) return []
  return readdirSync(leases()).flatMap((network) =>
    readdirSync(join(leases(), network)).filter((name) => name.startsWith('10.')),
  )
}

const cni = (args: readonly string[]): Promise<Ended> =>
  net.tscrun(args, { env: { NETCONFPATH: directory, CNI_PATH: `${plugins()}:/usr/lib/cni` } })

const run = (flags: readonly string[], script: string): Promise<Ended> =>
  cni(['run', '--rm', ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script])

describe('a container on a network of plugins', () => {
  it('has the link and address they give it, reaches the gateway, and gives all back', async () => {
    const { stdout, stderr } = await run(
      ['--network', 'cni:web'],
      'ip -o -4 addr show eth0; ping -c 1 -W 2 10.88.7.1; cat /proc/self/uid_map',
    )
    expect(stderr).toBe('')
    expect(stdout).toMatch(/inet 10\.88\.7\.\d+\/24/)
    expect(stdout).toContain('1 packets received')
    // In a user namespace of its own as everywhere.
    expect(stdout).not.toMatch(/^\s*0\s+0\s/m)
  })

  it('is told ports, addresses and names by the capabilities of the plugins', async () => {
    const { stdout } = await run(
      ['--network', 'cni:fixed', '--ip', '10.88.7.77/24', '--mac-address', '0a:00:00:00:00:77'],
      'ip addr show eth0; cat /proc/sys/net/core/somaxconn',
    )
    expect(stdout).toContain('10.88.7.77/24')
    expect(stdout).toContain('0a:00:00:00:00:77')
    expect(stdout).toMatch(/^77$/m)
  })

  it('has its published port led there while it runs, over restarts by the monitor too', async () => {
    const command = ['httpd', '-f', '-p', '80']
    const started = await cni([
      'run',
      '-d',
      '--name',
      'web',
      '--network=cni:web',
      '-p8080:80',
      '--restart=always',
      `--rootfs=${machine.rootfs}:O`,
      ...command,
    ])
    expect(started).toMatchObject({ exitCode: 0 })
    const shown = await cni(['inspect', '-f', '{{.NetworkSettings.IPAddress}} {{.State.Pid}}', 'web'])
    const [address, pid] = shown.stdout.trim().split(' ')
    expect(leased()).toEqual([address])
    await net.host(
      'until curl -gsS -m 2 -o /dev/null -w "%{http_code}" http://198.51.100.1:8080/ | grep 404; do sleep 0.05; done',
    )
    process.kill(Number(pid), 'SIGKILL')
    await net.host(
      `until curl -gsS -m 2 -o /dev/null -w "%{http_code}" http://198.51.100.1:8080/ | grep 404; do sleep 0.05; done`,
    )
    expect(leased()).toHaveLength(1)
    await cni(['stop', '-t', '0', 'web'])
    expect(leased()).toEqual([])
    expect(await cni(['start', 'web'])).toMatchObject({ exitCode: 0 })
    expect(leased()).toHaveLength(1)
  })

  it('gives its address back when its monitor is killed', async () => {
    await cni([
      'run',
      '-d',
      '--name',
      'lost',
      '--network',
      'cni:one',
      '--rootfs',
      `${machine.rootfs}:O`,
      'sleep',
      '1000',
    ])
    const state = await cni(['inspect', '-f', '{{.State.Pid}}', 'lost'])
    const status = readFileSync(`/proc/${state.stdout.trim()}/status`, 'utf8')
    expect(leased()).toHaveLength(1)
    process.kill(Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]), 'SIGKILL')
    await cni(['ps', '-a'])
    expect(leased()).toEqual([])
  })
})

describe('what cannot be', () => {
  it('is said in the words of the plugin that refuses, and what the others made is taken back', async () => {
    const ended = await run(['--network', 'cni:late'], 'true')
    expect(ended.exitCode).toBe(125)
    expectOneLine(ended.stderr, /CNI network late: refuses ADD: exit status 1: no more: of these/)
    const told = JSON.parse(readFileSync(join(plugins(), 'told'), 'utf8')) as {
      readonly prevResult: { readonly ips: unknown[] }
    }
    expect(told.prevResult.ips).toHaveLength(1)
  })

  it.each([
    ['a network that is not there', ['--network', 'cni:nowhere'], /network cni:nowhere: no file of .* has it/],
    ['a plugin that is not installed', ['--network', 'cni:absent'], /the plugin not-installed is not in/],
    ['ports that no plugin leads', ['--network', 'cni:fixed', '-p', '80'], /no plugin of it has portMappings/],
    ['both kinds of networks', ['--network', 'cni:web', '--network', 'bridge'], /not together with cni:NAME/],
  ])('%s', async (_name, flags, words) => {
    const ended = await run(flags, 'true')
    expect(ended.exitCode).toBe(125)
    expectOneLine(ended.stderr, words)
  })
})

describe('the library', () => {
  it('adds a namespace of somebody else to a network, checks it, and takes it out again', async () => {
    const script = `
      import { createEngine } from ${JSON.stringify(join(import.meta.dirname, '..', '..', 'dist', 'index.js'))}
      const cni = await createEngine({ root: process.argv[1], runRoot: process.argv[2] }).cni()
      const name = { network: 'web', id: 'pod-1', netns: '/proc/' + process.argv[3] + '/ns/net' }
      const { ips } = await cni.add({ ...name, capabilities: { portMappings: [] } })
      await cni.check(name)
      console.log(ips[0].address)
      await cni.delete(name)
      await cni.delete(name)
      await cni.check(name).catch((error) => console.log(error.code))`
    const stdout = await net.host(`
      unshare -n sleep 60 & pod=$!
      until [ "$(readlink /proc/$pod/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
      NETCONFPATH=${directory} CNI_PATH=/usr/lib/cni ${process.execPath} --input-type=module -e '${script.replaceAll("'", '"')}' \\
        ${machine.store} ${machine.runRoot} $pod
      nsenter -t $pod -n ip -br link show eth0 2>&1 || true
      kill $pod`)
    expect(stdout).toMatch(/^10\.88\.7\.\d+\/24\nCONTAINER_STATE\n.*eth0.*does not exist/)
  })
})

it('a dry run shows what the plugins would be told', async () => {
  const { stdout } = await cni(['run', '--dry-run', '--network', 'cni:web', '--rootfs', `${machine.rootfs}:O`, 'true'])
  expect(
    stdout.match(/^plugin path=\S+\/(\S+) .*CNI_COMMAND=(\w+)/gm)?.map((line) => /CNI_COMMAND=(\w+)/.exec(line)?.[1]),
  ).toEqual(['ADD', 'ADD', 'DEL', 'DEL'])
})
