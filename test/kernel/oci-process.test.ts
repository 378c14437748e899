import { execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OciIntelRdt, OciProcess, OciSeccomp } from '../../src/model/config.ts'
import { type Bundles, leftOf, makeBundles, type Ran, RUNTIME } from './fixtures/bundles.ts'
import { compileStatic } from './fixtures/rootfs.ts'

let bundles: Bundles
beforeAll(() => (bundles = makeBundles()))
afterAll(() => bundles.dispose())

/** What the script says with these members of `process`; it must say nothing on stderr. */
function outputOf(script: string, process: Partial<OciProcess>, flags: readonly string[] = []): string {
  const { code, stdout, stderr } = bundles.run(script, { process }, flags)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trimEnd()
}

describe("a caller's process", () => {
  it('has the user, groups and umask of config.json, and the home of /etc/passwd', () => {
    const user = { uid: 1000, gid: 1000, additionalGids: [29, 5], umask: 0o27 }
    expect(outputOf('id -u; id -G; umask; echo $HOME', { user })).toBe('1000\n1000 5 29\n0027\n/home/alice')
  })

  it('keeps a HOME that it is given, and its own environment alone', () => {
    expect(outputOf('env | grep -v "^SHLVL\\|^PWD" | sort', { env: ['PATH=/bin', 'HOME=/here', 'A=b=c'] })).toBe(
      'A=b=c\nHOME=/here\nPATH=/bin',
    )
  })

  it('has the capabilities of each of the five sets', () => {
    const capabilities = {
      bounding: ['CAP_CHOWN', 'CAP_KILL', 'CAP_MKNOD'],
      permitted: ['CAP_CHOWN', 'CAP_KILL'],
      effective: ['CAP_KILL'],
      inheritable: ['CAP_CHOWN'],
      ambient: ['CAP_CHOWN'],
    }
    const user = { uid: 1000, gid: 1000 }
    const caps = outputOf('grep "^Cap" /proc/self/status | cut -f2', { capabilities, user })
    // Inheritable, permitted, effective, bounding, ambient (proc_pid_status(5)); what is ambient survives the exec.
    expect(caps.split('\n').map((mask) => Number.parseInt(mask, 16))).toEqual([1, 1, 1, 0x8000021, 1])
  })

  it('has limits so small that it can open nothing, which is no hindrance on the way', () => {
    const rlimits = [
      { type: 'RLIMIT_NOFILE', soft: 3, hard: 4 },
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
    ]
    expect(outputOf('ulimit -Sn; ulimit -Hn; ulimit -c', { rlimits })).toBe('3\n4\n0')
  })

  it("has the caller's limit on open files where the config has none, and so has exec", () => {
    const bundle = bundles.bundle('sleep 1000', {})
    const [root, id] = [join(bundles.directory, 'run'), 'limited']
    const runtime = `${RUNTIME} --root ${root}`
    const script = `ulimit -Sn 777
      ${runtime} create --bundle ${bundle} ${id} </dev/null >/dev/null 2>&1 && ${runtime} start ${id}
      ${runtime} exec ${id} sh -c 'ulimit -Sn; grep "Max open" /proc/1/limits | tr -s " " | cut -d" " -f4'
      ${runtime} delete --force ${id}`
    expect(execFileSync('sh', ['-c', script], { encoding: 'utf8' })).toBe('777\n777\n')
  })

  it('is scheduled as told', () => {
    const change: Partial<OciProcess> = {
      scheduler: { policy: 'SCHED_BATCH', nice: -3 },
      ioPriority: { class: 'IOPRIO_CLASS_IDLE', priority: 0 },
      oomScoreAdj: 321,
    }
    // Nice and policy are fields 19 and 41 of proc_pid_stat(5).
    const script = 'cut -d" " -f19,41 /proc/self/stat; ionice -p $$; cat /proc/self/oom_score_adj'
    expect(outputOf(script, change)).toBe('-3 3\nidle\n321')
  })

  it('has the personality and memory policy of the config', () => {
    const linux = {
      personality: { domain: 'LINUX32' },
      memoryPolicy: { mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] },
    } as const
    const { stdout } = bundles.run('cat /proc/self/personality; head -1 /proc/self/numa_maps', {
      linux,
    })
    expect(stdout).toMatch(/^00000008\n\w+ bind=static:0 /)
  })

  it.each([
    [
      { apparmorProfile: 'mine' },
      {},
      'process.apparmorProfile: this host has no AppArmor',
      '/sys/kernel/security/apparmor',
    ],
    [{ selinuxLabel: 'a:b:c:s0' }, {}, 'process.selinuxLabel: this host has no SELinux', '/sys/fs/selinux/enforce'],
    [{}, { mountLabel: 'a:b:c:s0' }, 'linux.mountLabel: this host has no SELinux', '/sys/fs/selinux/enforce'],
    [
      {},
      { intelRdt: { closID: 'mine' } },
      'linux.intelRdt: this host has no resctrl filesystem',
      '/sys/fs/resctrl/schemata',
    ],
  ])('with %j %j is refused where the host has no such thing', (process, linux, words, needs) => {
    const { code, stderr } = bundles.create('true', { process, linux })
    expect(existsSync(needs)).toBe(false)
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`config.json: ${words}`) })
  })

  it('joins a group of resctrl that is there, if that has the shares which the config names', () => {
    // No processor with such groups is needed to see what is read and written: files in place of the kernel's.
    const files = [
      ['schemata', 'L3:0=fff\n'],
      ['mine/schemata', '    L3:0=00f;1=fff\n    MB:0= 20;1=100\n'],
      ['mine/tasks', ''],
    ]
    const make = files.map(([name, text]) => `printf %s '${text}' >/sys/fs/resctrl/${name}`).join(' && ')
    const aside = join(bundles.directory, 'cgroup')
    mkdirSync(aside)
    const script = `mount --move /sys/fs/cgroup ${aside} && mount -t tmpfs none /sys/fs
      mkdir -p /sys/fs/cgroup /sys/fs/resctrl/mine && mount --move ${aside} /sys/fs/cgroup && ${make}
      "$@" && cat /sys/fs/resctrl/mine/*`
    const within = ['unshare', '-m', 'sh', '-ec', script, 'sh']
    const run = (intelRdt: OciIntelRdt, id: string): Ran => {
      const words = ['--cgroup-manager', 'disabled', 'run', '--pid-file', join(bundles.directory, id)]
      const bundle = bundles.bundle('true', { linux: { intelRdt } })
      return bundles.runtime([...words, '--bundle', bundle, id], { within })
    }
    const same = { closID: 'mine', l3CacheSchema: 'L3:0=F\nMB:0=99', memBwSchema: 'MB:1=100;0=20' }
    const { code, stdout } = run(same, 'rdt-same')
    const pid = readFileSync(join(bundles.directory, 'rdt-same'), 'latin1')
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(`^L3:0=F\nMB:1=100;0=20\n[^]*${pid}$`) })
    const refused = (more: OciIntelRdt, words: string): void =>
      expect(run({ closID: 'mine', ...more }, 'rdt-other')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`config.json: linux.intelRdt.${words}`),
      })
    refused({ l3CacheSchema: 'L3:1=ff' }, 'l3CacheSchema: the group mine is there already, with another share for L3:1')
    refused({ memBwSchema: 'MB:0=30' }, 'memBwSchema: the group mine is there already, with another share for MB:0')
    refused({ l3CacheSchema: 'L2:0=f' }, 'l3CacheSchema: the group mine is there already, with no share for L2:0')
    const absent = run({ closID: 'absent' }, 'rdt-absent')
    expect(absent).toMatchObject({ code: 1, stderr: expect.stringContaining('linux.intelRdt absent') })
  })

  it('keeps the descriptors that it is promised, at their numbers, and no other', () => {
    const files = ['a', 'b', 'c'].map((name) => join(bundles.directory, `kept-${name}`))
    for (const file of files) writeFileSync(file, `this is ${file}\n`)
    const fds = files.map((file) => openSync(file, 'r'))
    const bundle = bundles.bundle('cat <&3; cat <&4; ls /proc/self/fd | sort -n | tr "\\n" " " >/kept-list', {})
    try {
      const ran = bundles.runtime(['run', '--bundle', bundle, '--preserve-fds', '2', 'kept'], { fds })
      expect(ran).toEqual({ code: 0, stdout: `this is ${files[0]}\nthis is ${files[1]}\n`, stderr: '' })
      // The last one is ls's own.
      expect(readFileSync(join(bundles.rootfs, 'kept-list'), 'utf8')).toBe('0 1 2 3 4 5 ')
    } finally {
      for (const fd of fds) closeSync(fd)
    }
  })

  it('runs with a root that is not pivoted into, and cannot see the one before', () => {
    const script = 'ls /; ls -d /proc/1/root/lib/modules /../../lib/modules'
    const { stdout, stderr } = bundles.run(script, {}, ['--no-pivot'])
    expect(stdout).toContain('\nbin\n'.slice(1))
    expect(stdout).not.toContain('boot')
    expect(stderr.match(/No such file/g)).toHaveLength(2)
  })

  it('is refused with a file as its directory, or one that leads out of the root', () => {
    expect(bundles.create('true', { process: { cwd: '/etc/passwd' } }).stderr).toContain('not a directory')
    expect(outputOf('pwd', { cwd: '/new/dir' })).toBe('/new/dir')
  })

  it('leaves nothing behind', () => expect(leftOf(bundles)).toEqual([]))
})

describe('seccomp with an agent', () => {
  const profile = (listenerPath: string, flags: string[]): OciSeccomp => ({
    defaultAction: 'SCMP_ACT_ALLOW',
    listenerPath,
    listenerMetadata: 'for "you"',
    flags,
    // Also what it takes to send the listener.
    syscalls: [{ names: ['mkdir', 'mkdirat', 'sendmsg', 'close'], action: 'SCMP_ACT_NOTIFY' }],
  })

  it.each([
    ['before the rights are gone', false, []],
    ['with no_new_privs, last', true, ['SECCOMP_FILTER_FLAG_TSYNC']],
  ])('hands it the listener and the state, %s', async (_, noNewPrivileges, flags) => {
    const [program, socket] = [join(bundles.directory, 'agent'), join(bundles.directory, `agent${noNewPrivileges}`)]
    compileStatic(join(import.meta.dirname, 'fixtures', 'agent.c'), program)
    const agent = spawn(program, [socket], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    agent.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    await once(agent.stdout, 'data')
    const ended = once(agent, 'exit')
    const { stderr } = bundles.run('mkdir /asked', {
      process: { noNewPrivileges },
      linux: { seccomp: profile(socket, flags) },
    })
    expect(stderr).toContain("can't create directory '/asked': Permission denied")
    expect(existsSync(join(bundles.rootfs, 'asked'))).toBe(false)
    await ended
    const state = JSON.parse(said.split('\n')[1] ?? '') as Record<string, unknown>
    expect(state).toMatchObject({ ociVersion: '1.2.0', fds: ['seccompFd'], metadata: 'for "you"' })
    expect(state['pid']).toBe((state['state'] as { pid: number }).pid)
    expect(state['pid']).toBeGreaterThan(0)
  })

  it('is refused where nobody listens', () => {
    const { code, stderr } = bundles.create('true', { linux: { seccomp: profile('/nobody/here', []) } })
    expect(code).toBe(1)
    expect(stderr).toContain('connect /nobody/here: ENOENT')
  })
})
