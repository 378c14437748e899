import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { OciHook } from '../../src/model/config.ts'
import { type Bundles, holdNamespaces, leftOf, makeBundles } from './fixtures/bundles.ts'

let bundles: Bundles
let told: string
beforeAll(() => {
  bundles = makeBundles()
  told = join(bundles.directory, 'told')
})
beforeEach(() => {
  rmSync(told, { recursive: true, force: true })
  mkdirSync(told)
})
afterAll(() => bundles.dispose())

/** A hook of the host that runs a shell script with its name as $0. */
const hook = (script: string, more: Partial<OciHook> = {}): OciHook => ({
  path: '/bin/sh',
  args: ['sh', '-c', script],
  ...more,
})
/** Writes down what it is given, and where it is. */
const tell = (name: string): OciHook =>
  hook(
    `{ cat; echo; /usr/bin/env; for n in mnt net pid; do readlink /proc/self/ns/$n; done; ls ${bundles.rootfs}/proc | grep -c '^1$'; true; } > ${told}/${name}`,
    { env: [`NAME=${name}`] },
  )
const toldBy = (name: string) => {
  const [state = '', ...rest] = readFileSync(join(told, name), 'utf8').trimEnd().split('\n')
  const [mnt, net, pid, processes] = rest.slice(-4)
  const env = rest.slice(0, -4).filter((line) => !/^(PWD|SHLVL|_|OLDPWD)=/.test(line))
  return { state: JSON.parse(state) as Record<string, unknown>, env, mnt, net, pid, processes }
}

/** Takes longer than it may, and so does what it starts. */
const slow = hook('sleep 87654 & sleep 87654', { timeout: 1, env: ['PATH=/usr/bin:/bin'] })
/** What is left of it; one that has been killed may not have been reaped yet. */
const sleepers = (): string[] =>
  execFileSync('ps', ['-eo', 'stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes('sleep 87654') && !line.startsWith('Z'))

describe("a caller's hooks", () => {
  it('are run at their points, in their namespaces, with the state and nothing else', () => {
    const names = ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop'] as const
    const hooks = {
      ...Object.fromEntries(names.map((name) => [name, [tell(name)]])),
      startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'cat > /of-start; env >> /of-start'], env: ['B=c'] }],
    }
    const script = 'for n in mnt net pid; do readlink /proc/self/ns/$n; done; cat /of-start'
    const { stdout, stderr } = bundles.run(script, {
      hooks,
      edit: (config) => ({ ...config, annotations: { 'a.b': 'c "d"' } }),
    })
    expect(stderr).toBe('')
    const [mnt, net, pid, started = ''] = stdout.split('\n')
    const of = Object.fromEntries(names.map((name) => [name, toldBy(name)]))
    for (const name of names) {
      expect(of[name]?.env, name).toEqual([`NAME=${name}`])
      expect(of[name]?.state).toMatchObject({ ociVersion: '1.2.0', annotations: { 'a.b': 'c "d"' } })
      expect(of[name]?.state['bundle']).toMatch(/bundle\d+$/)
    }
    const first = of['createRuntime']?.state['pid']
    expect(names.map((name) => [of[name]?.state['status'], of[name]?.state['pid']])).toEqual([
      [expect.stringMatching(/^(creating|created)$/), first],
      ['creating', first],
      ['creating', first],
      ['running', first],
      ['stopped', 0],
    ])
    // Only createContainer is in the container's namespaces, and sees its mounts where the bundle has them.
    expect([of['createContainer']?.mnt, of['createContainer']?.net, of['createContainer']?.pid]).toEqual([
      mnt,
      net,
      pid,
    ])
    expect(of['createContainer']?.processes).toBe('1')
    for (const name of ['prestart', 'createRuntime', 'poststart', 'poststop'] as const) {
      expect([of[name]?.mnt, of[name]?.net, of[name]?.pid, of[name]?.processes], name).not.toContain(mnt)
      expect(of[name]?.net).not.toBe(net)
      expect(of[name]?.processes).toBe('0')
    }
    expect(JSON.parse(started.slice(0, started.indexOf('}}') + 2))).toMatchObject({ status: 'created', pid: first })
    expect(stdout).toContain('B=c\n')
    expect(stdout).not.toContain('PATH=/bin\n')
  })

  it('can put a mount into the container: createContainer does, and it is there for the command', () => {
    const mount = `mkdir -p ${bundles.rootfs}/by-hook && mount -t tmpfs tmpfs ${bundles.rootfs}/by-hook && echo hello > ${bundles.rootfs}/by-hook/file`
    const hooks = { createContainer: [hook(mount, { env: ['PATH=/usr/bin:/bin'] })] }
    expect(bundles.run('cat /by-hook/file', { hooks }).stdout).toBe('hello\n')
    expect(existsSync(join(bundles.rootfs, 'by-hook/file'))).toBe(false)
  })

  it('of createRuntime are in the namespaces of the caller, also where the container joins others', async () => {
    const other = await holdNamespaces('--net', '--uts')
    try {
      const namespaces = [{ type: 'network', path: `/proc/${other.pid}/ns/net` }, { type: 'mount' }] as const
      const { stdout, stderr } = bundles.run('readlink /proc/self/ns/net', {
        linux: { namespaces },
        hooks: { createRuntime: [tell('joined')] },
      })
      expect({ stdout, stderr }).toEqual({ stdout: `${readlinkSync(`/proc/${other.pid}/ns/net`)}\n`, stderr: '' })
      expect(toldBy('joined').net).toBe(readlinkSync('/proc/self/ns/net'))
    } finally {
      other.kill()
    }
  })

  it.each([
    ['prestart', 'echo first; echo what is wrong >&2; exit 3', 'prestart[0] /bin/sh: exit status 3: what is wrong'],
    ['createRuntime', 'kill -9 $$', 'createRuntime[0] /bin/sh: ended by signal 9'],
    ['createContainer', 'exit 9', 'createContainer[0] /bin/sh: exit status 9'],
  ])('%s that fails ends the create, and is told with the last line it said', (name, script, words) => {
    const before = bundles.runtime(['list', '-q']).stdout
    const hooks = { [name]: [hook(script)], poststop: [tell('after')] }
    const { code, stderr } = bundles.create('true', { hooks })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`hooks.${words}`) })
    expect(bundles.runtime(['list', '-q']).stdout).toBe(before)
    expect(toldBy('after').state).toMatchObject({ status: 'stopped' })
  })

  it.each(['prestart', 'createRuntime', 'createContainer', 'startContainer'])(
    '%s that takes longer than its timeout is killed with all it has started, and the container is not run',
    (name) => {
      const { code, stdout, stderr } = bundles.run('echo ran', { hooks: { [name]: [slow] } })
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toContain(`hooks.${name}[0] /bin/sh: not done after 1 s, killed`)
      expect(sleepers()).toEqual([])
    },
  )

  it('poststart and poststop that take longer are killed too, and are a warning', () => {
    const { code, stdout, stderr } = bundles.run('echo ran', { hooks: { poststart: [slow], poststop: [slow] } })
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'ran\n' })
    for (const name of ['poststart', 'poststop']) {
      expect(stderr).toContain(`level=warning msg="hooks.${name}[0] /bin/sh: not done after 1 s, killed"`)
    }
    expect(sleepers()).toEqual([])
  })

  it('that are not there are told by path', () => {
    const { stderr } = bundles.create('true', { hooks: { createRuntime: [{ path: '/nobody/home' }] } })
    expect(stderr).toContain('hooks.createRuntime[0] /nobody/home: no such file or directory (ENOENT)')
  })

  it('startContainer that fails keeps the command from running', () => {
    const hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'echo no >&2; exit 1'] }] }
    const { code, stdout, stderr } = bundles.run('echo ran', { hooks })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('hooks.startContainer[0] /bin/sh: exit status 1: no')
  })

  it.each(['prestart', 'startContainer'])('%s that fails is told as well by a run in the foreground', (name) => {
    const hooks = { [name]: [{ path: '/bin/sh', args: ['sh', '-c', 'echo oh no >&2; exit 5'] }] }
    const ran = bundles.runtime(['run', '--bundle', bundles.bundle('echo ran', { hooks }), `front-${name}`])
    expect(ran).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining(`hooks.${name}[0] /bin/sh: exit status 5: oh no`),
    })
  })

  it('poststart and poststop that fail are a warning, and the others are run', () => {
    const failing = hook('echo alas; exit 7')
    const hooks = { poststart: [failing, tell('second')], poststop: [failing, tell('third')] }
    const { code, stdout, stderr } = bundles.run('echo ran', { hooks })
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'ran\n' })
    expect(stderr).toMatch(/level=warning msg="hooks\.poststart\[0\] \/bin\/sh: exit status 7: alas"/)
    expect(stderr).toMatch(/level=warning msg="hooks\.poststop\[0\] \/bin\/sh: exit status 7: alas"/)
    expect(toldBy('second').state).toMatchObject({ status: 'running' })
    expect(toldBy('third').state).toMatchObject({ status: 'stopped' })
  })

  it('may read nothing, write much and leave children', () => {
    writeFileSync(join(told, 'big'), 'x'.repeat(1_000_000))
    const hooks = { prestart: [hook(`cat ${told}/big ${told}/big; sleep 0.2 &`, { env: ['PATH=/usr/bin:/bin'] })] }
    expect(bundles.run('echo ran', { hooks }).stdout).toBe('ran\n')
  })

  it('leave nothing behind', () => expect(leftOf(bundles)).toEqual([]))
})
