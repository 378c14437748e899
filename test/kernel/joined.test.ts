import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, isAlive, useMachine, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  // What a container with --rm leaves of a range that others shared goes with the next look at all of them.
  await out('ps')
  expectNothingLeft(machine)
})

async function out(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return stdout.trim()
}

/** `run -d`; answers its id. */
const detach = (name: string, script: string, flags: readonly string[] = []): Promise<string> =>
  out('run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script)

const pidOf = async (name: string): Promise<number> => Number(await out('inspect', '-f', '{{.State.Pid}}', name))
const namespace = (pid: number, type: string): string => readlinkSync(`/proc/${pid}/ns/${type}`)
const ranges = (): string[] => readdirSync(join(machine.store, 'ranges'))
const isRunning = async (name: string): Promise<boolean> =>
  (await out('inspect', '-f', '{{.State.Running}}', name)) === 'true'

async function refusal(...flags: readonly string[]): Promise<string> {
  const { exitCode, stderr } = await machine.run(flags, ['true'])
  expect(exitCode).toBe(125)
  expectOneLine(stderr, /^tscrun: /)
  return stderr
}

describe('container:NAME', () => {
  it.each([
    ['--pid', 'pid'],
    ['--ipc', 'ipc'],
    ['--uts', 'uts'],
    ['--network', 'net'],
    ['--userns', 'user'],
  ])('with %s joins that namespace, its user namespace, and no other', async (flag, type) => {
    await detach('target', 'exec sleep 1000')
    await detach('joiner', 'exec sleep 1000', [flag, 'container:target'])
    const [target, joiner] = [await pidOf('target'), await pidOf('joiner')]
    const same = ['pid', 'ipc', 'uts', 'net', 'user', 'cgroup', 'mnt'].filter(
      (each) => namespace(target, each) === namespace(joiner, each),
    )
    expect(same.toSorted()).toEqual([...new Set([type, 'user'])].toSorted())
    expect(readFileSync(`/proc/${joiner}/uid_map`, 'utf8')).toBe(readFileSync(`/proc/${target}/uid_map`, 'utf8'))
    expect(await out('exec', 'joiner', 'id', '-u')).toBe('0')
  })

  it('shows what belongs to the namespaces: processes, shared memory, interfaces, the name and its files', async () => {
    await detach('target', 'echo 192.0.2.1 there >>/etc/hosts; echo told >/dev/shm/note; exec sleep 1000', [
      '--hostname=elsewhere',
      '--add-host=far:192.0.2.7',
      '--dns=192.0.2.53',
    ])
    const all = ['--pid', '--ipc', '--uts', '--network'].flatMap((flag) => [flag, 'container:target'])
    const script =
      'cat /proc/1/comm; cat /dev/shm/note; echo answer >/dev/shm/note; hostname; grep -c far /etc/hosts; ' +
      'cat /etc/hostname; grep -c 192.0.2.53 /etc/resolv.conf; ls /sys/class/net; ls -d /dev/mqueue'
    expect(await machine.sh(script, all)).toBe('sleep\ntold\nelsewhere\n1\nelsewhere\n1\nlo\n/dev/mqueue')
    expect(await out('exec', 'target', 'cat', '/dev/shm/note')).toBe('answer')
  })

  it('with the network alone has a host name of its own that is the same', async () => {
    await detach('target', 'exec sleep 1000', ['--hostname', 'elsewhere'])
    expect(
      await machine.sh('hostname; hostname other; hostname', [
        '--network',
        'container:target',
        '--cap-add',
        'SYS_ADMIN',
      ]),
    ).toBe('elsewhere\nother')
    expect(await out('exec', 'target', 'hostname')).toBe('elsewhere')
  })

  it('writes into volumes as any container: with the owners that they have outside', async () => {
    await detach('target', 'exec sleep 1000')
    const volume = join(machine.directory, 'volume')
    mkdirSync(volume)
    chmodSync(volume, 0o777)
    await machine.sh('echo >/data/file', ['--network', 'container:target', '-v', `${volume}:/data`, '-u', '1000'])
    expect(statSync(join(volume, 'file')).uid).toBe(1000)
  })

  it('joins who has joined another, and one that shares the namespaces of the host', async () => {
    await detach('first', 'exec sleep 1000')
    await detach('second', 'exec sleep 1000', ['--network', 'container:first'])
    await detach('third', 'exec sleep 1000', ['--network', 'container:second', '--pid', 'container:first'])
    expect(namespace(await pidOf('third'), 'net')).toBe(namespace(await pidOf('first'), 'net'))
    await detach('host', 'exec sleep 1000', ['--userns', 'host', '--network', 'host'])
    const links = await machine.sh('readlink /proc/self/ns/net; readlink /proc/self/ns/user', [
      '--network',
      'container:host',
    ])
    expect(links).toBe(`${readlinkSync('/proc/self/ns/net')}\n${readlinkSync('/proc/self/ns/user')}`)
  })

  it('is refused where it cannot be: no such container, one that does not run, other ids, what the target decides', async () => {
    await detach('target', 'exec sleep 1000')
    await detach('other', 'exec sleep 1000')
    await detach('ended', 'exit 0')
    await out('wait', 'ended')
    expect(await refusal('--pid', 'container:absent')).toMatch(/^tscrun: container absent: there is none/)
    expect(await refusal('--pid', 'container:ended')).toMatch(
      /^tscrun: --pid container:ended: container ended is stopped/,
    )
    expect(await refusal('--ipc', 'container:')).toMatch(/^tscrun: --ipc container:: the container is missing/)
    expect(await refusal('--pid', 'container:target', '--userns', 'auto')).toMatch(
      /--pid container:target joins the user namespace/,
    )
    expect(await refusal('--pid', 'container:target', '--userns', 'host')).toMatch(
      /--pid container:target joins the user namespace/,
    )
    expect(await refusal('--pid', 'container:target', '--ipc', 'container:other')).toMatch(
      /target and other have different user/,
    )
    expect(await refusal('--network', 'container:target', '--hostname', 'x')).toMatch(
      /^tscrun: --hostname: not with --network/,
    )
    expect(await refusal('--network', 'container:target', '--dns', '192.0.2.1')).toMatch(
      /^tscrun: --dns: not with --network/,
    )
    expect(await refusal('--ipc', 'container:target', '--shm-size', '1m')).toMatch(
      /^tscrun: --shm-size: not with --ipc/,
    )
  })

  it('does not join a process that only has the pid of the one that was there', async () => {
    const id = await detach('target', 'exec sleep 1000')
    const file = join(machine.runRoot, id, 'state.json')
    const state = readFileSync(file, 'utf8')
    writeFileSync(file, state.replace(/"pid":\d+/, `"pid":${process.pid}`))
    expect(await refusal('--network', 'container:target')).toMatch(
      /join the network namespace of container target: it does not run/,
    )
    writeFileSync(file, state)
  })

  it('does not follow a link in place of the shared memory', async () => {
    await detach('target', 'umount /dev/shm && rmdir /dev/shm && ln -s /etc /dev/shm && exec sleep 1000', [
      '--privileged',
      '--userns=auto',
    ])
    await until(
      async () => (await machine.tscrun(['exec', 'target', 'readlink', '/dev/shm'])).stdout === '/etc\n' || undefined,
    )
    expect(await refusal('--ipc', 'container:target')).toMatch(/share \/dev\/shm of container target: .*ELOOP/)
  })
})

describe('when the target ends', () => {
  it('who is in its pid namespace ends with it, the others live on', async () => {
    await detach('target', 'exec sleep 1000')
    await detach('inside', 'exec sleep 1000', ['--pid', 'container:target'])
    await detach('beside', 'exec sleep 1000', ['--network', 'container:target'])
    const [inside, beside] = [await pidOf('inside'), await pidOf('beside')]
    await out('kill', 'target')
    expect(await out('wait', 'inside')).toBe('137')
    expect([isAlive(inside), isAlive(beside)]).toEqual([false, true])
    expect(await out('exec', 'beside', 'echo', 'alive')).toBe('alive')
  })

  it('a start joins the one that runs then; without one it fails and says why', async () => {
    await detach('target', 'exec sleep 1000')
    await detach('joiner', 'exec sleep 1000', ['--network', 'container:target'])
    await out('stop', '-t', '0', 'joiner', 'target')
    const early = await machine.tscrun(['start', 'joiner'])
    expectOneLine(
      early.stderr,
      /^tscrun: start joiner: it joins the network namespace of another: container target is stopped/,
    )
    await out('start', 'target')
    await out('start', 'joiner')
    expect(namespace(await pidOf('joiner'), 'net')).toBe(namespace(await pidOf('target'), 'net'))
    const [map, ours] = [`/proc/${await pidOf('target')}/uid_map`, `/proc/${await pidOf('joiner')}/uid_map`]
    expect(readFileSync(ours, 'utf8')).toBe(readFileSync(map, 'utf8'))
    await out('stop', '-t', '0', 'joiner')
    await out('rm', '-f', 'target')
    const late = await machine.tscrun(['start', 'joiner'])
    expect(late.exitCode).toBe(125)
    expectOneLine(
      late.stderr,
      /^tscrun: start joiner: container [0-9a-f]{12}, whose network namespace it joins, has been removed/,
    )
  })

  it('and both are to be started again, the one that joined finds the other, with no Node alive', async () => {
    await detach('target', 'exec sleep 1000', ['--restart', 'always'])
    await detach('joiner', 'exec sleep 1000', ['--restart', 'always', '--pid', 'container:target'])
    const [target, joiner] = [await pidOf('target'), await pidOf('joiner')]
    process.kill(target, 'SIGKILL')
    await until(async () => {
      const now = [await pidOf('target'), await pidOf('joiner')]
      return (now.every((pid) => pid > 0) && now[0] !== target && now[1] !== joiner) || undefined
    })
    expect(namespace(await pidOf('joiner'), 'pid')).toBe(namespace(await pidOf('target'), 'pid'))
  })
})

describe('create', () => {
  it('takes a target that does not run yet, and start needs one that does', async () => {
    const make = (name: string, ...flags: string[]): Promise<string> =>
      out('create', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000')
    await make('target')
    await make('joiner', '--network', 'container:target')
    const early = await machine.tscrun(['start', 'joiner'])
    expectOneLine(early.stderr, /container target is created/)
    expect(await out('ps', '-a', '--filter', 'name=joiner', '--format', '{{.State}}')).toBe('created')
    await out('start', 'target', 'joiner')
    expect(namespace(await pidOf('joiner'), 'net')).toBe(namespace(await pidOf('target'), 'net'))
  })
})

describe('the range of ids', () => {
  it('stays until the last of those who share it is removed, whoever goes first', async () => {
    for (const order of [
      ['target', 'joiner'],
      ['joiner', 'target'],
    ]) {
      await detach('target', 'exec sleep 1000')
      const [range = ''] = ranges()
      await detach('joiner', 'exec sleep 1000', ['--ipc', 'container:target'])
      await out('stop', '-t', '0', 'target', 'joiner')
      expect(ranges()).toEqual([range])
      await out('rm', order[0] ?? '')
      expect(ranges()).toEqual([range])
      await out('rm', order[1] ?? '')
      expect(ranges()).toEqual([])
    }
  })

  it('stays with a target that removes itself at its end, with no Node alive', async () => {
    await detach('target', 'exec sleep 1000', ['--rm'])
    const [range] = ranges()
    await detach('joiner', 'exec sleep 1000', ['--rm', '--network', 'container:target'])
    await detach('second', 'exec sleep 1000', ['--network', 'container:joiner'])
    await out('stop', '-t', '0', 'target', 'joiner')
    expect(ranges()).toEqual([range])
    expect(await isRunning('second')).toBe(true)
    await out('rm', '-f', 'second')
    expect(ranges()).toEqual([])
  })

  it('is given back by who could not start', async () => {
    await detach('target', 'exec sleep 1000')
    const failed = await machine.run(['--network', 'container:target'], ['/nosuch'])
    expect(failed.exitCode).toBe(127)
    await out('rm', '-f', 'target')
    expect(ranges()).toEqual([])
  })

  it('is shared by many who join at once, each of whom may go at any time', async () => {
    await detach('target', 'exec sleep 1000')
    const names = Array.from({ length: 6 }, (_, index) => `many${index}`)
    await Promise.all(names.map((name) => detach(name, 'exec sleep 1000', ['--network', 'container:target'])))
    const [range = ''] = ranges()
    expect(ranges().length).toBe(1)
    expect(readdirSync(join(machine.store, 'ranges', range)).length).toBe(7)
    await Promise.all(['target', ...names].map((name) => out('rm', '-f', name)))
    expect(ranges()).toEqual([])
  })
})
