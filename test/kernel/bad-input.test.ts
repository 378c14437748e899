import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine, PROJECT, TSCRUN, type Ended } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

function expectRefusal({ exitCode, stdout, stderr }: Ended, code: number, words: RegExp): void {
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: code, stdout: '', stderr: expect.any(String) })
  expectOneLine(stderr, words)
}

describe('one line, the documented exit code, and nothing left, for', () => {
  it.each<[string, readonly string[], RegExp]>([
    ['an unknown flag', ['--memroy', '64m'], /^tscrun: .*--memroy.*(\n.*)?--memory/],
    ['a flag without its value', ['--memory'], /^tscrun: .*--memory|^tscrun: .*--rootfs/],
    ['a size below what a process needs', ['--memory', '1'], /^tscrun: --memory 1: /],
    ['a size that is none', ['--memory', '12x'], /^tscrun: --memory 12x: /],
    ['a negative count', ['--pids-limit', '-5'], /^tscrun: --pids-limit -5: /],
    ['a share of processors that is none', ['--cpus', '-1'], /^tscrun: --cpus -1: /],
    ['a processor list that is none', ['--cpuset-cpus', '3-1'], /^tscrun: --cpuset-cpus 3-1: /],
    ['a huge processor list (CVE-2018-20699)', ['--cpuset-cpus', '0-4294967295'], /^tscrun: .*cpuset/],
    ['an unknown user', ['--user', 'mallory'], /^tscrun: user "mallory": no such user in \/etc\/passwd of the image/],
    ['an unknown group', ['--user', '0:mallory'], /^tscrun: group "mallory": no such group/],
    ['an unknown further group', ['--group-add', 'mallory'], /^tscrun: group "mallory": no such group/],
    ['a uid that wraps around to root', ['--user', '4294967296'], /^tscrun: .*4294967296/],
    ['a uid outside of the range', ['--user', '70000'], /^tscrun: .*70000/],
    ['a relative volume target', ['-v', '/tmp:relative'], /^tscrun: .*relative/],
    ['a volume below a file', ['-v', '/etc/passwd/x:/v'], /^tscrun: volume \/etc\/passwd\/x: ENOTDIR \(a part of/],
    [
      'a volume of no filesystem that can shift owners',
      ['-v', '/proc:/host-proc'],
      /^tscrun: volume \/proc: its filesystem \(proc\)/,
    ],
    ['a time that is none', ['--timens', 'alpine'], /^tscrun: --timens alpine: not private, host or offsets/],
    ['a device that is none', ['--device', '/etc/passwd'], /^tscrun: device \/etc\/passwd: not a device/],
    ['a device that is not there', ['--device', '/dev/absent'], /^tscrun: device \/dev\/absent: no such file/],
    ['an unknown ulimit', ['--ulimit', 'nofiles=1'], /^tscrun: .*nofiles/],
    ['a ulimit upside down', ['--ulimit', 'nofile=2:1'], /^tscrun: .*nofile/],
    ['a capability that is none', ['--cap-drop', 'nothing'], /^tscrun: .*nothing/i],
    [
      'a sysctl of the host',
      ['--sysctl', 'kernel.core_pattern=x'],
      /^tscrun: sysctl "kernel.core_pattern": not kept per namespace/,
    ],
    ['a sysctl the kernel does not know', ['--sysctl', 'net.ipv4.absent=1'], /^tscrun: .*net\.ipv4\.absent/],
    [
      'a seccomp profile that is not there',
      ['--security-opt', 'seccomp=/absent'],
      /^tscrun: --security-opt seccomp=\/absent: ENOENT/,
    ],
    [
      'a seccomp profile that is none',
      ['--security-opt', `seccomp=${join(PROJECT, 'package.json')}`],
      /^tscrun: --security-opt seccomp=\/.*\/package\.json: seccomp profile .*defaultAction/,
    ],
    ['an unknown security option', ['--security-opt', 'sekomp=x'], /^tscrun: .*sekomp/],
    ['a host name that is too long', ['--hostname', 'x'.repeat(65)], /^tscrun: .*hostname/],
    [
      'a host name for the host itself',
      ['--hostname', 'mine', '--uts', 'host'],
      /^tscrun: --hostname mine: does not go together with --uts host/,
    ],
    ['a name that is none', ['--name', '../x'], /^tscrun: --name \.\.\/x: not a container name/],
    ['a tmpfs option that is none', ['--tmpfs', '/t:absent=1'], /^tscrun: .*absent/],
    ['a working directory that is no path', ['-w', 'relative'], /^tscrun: .*relative/],
    ['a working directory that is a file', ['-w', '/etc/passwd'], /^tscrun: .*\/etc\/passwd/],
    [
      'a file for the id in no directory',
      ['--cidfile', '/absent/id'],
      /^tscrun: --cidfile \/absent\/id: ENOENT \(can it/,
    ],
    [
      'an env file that is not there',
      ['--env-file', '/absent'],
      /^tscrun: .*\/absent.*ENOENT \(it is a file that a flag names\)/,
    ],
    ['an unknown network', ['--network', 'bridge-of-mine'], /^tscrun: .*bridge-of-mine/],
    ['an unknown namespace mode', ['--pid', 'mine'], /^tscrun: .*mine/],
    ['a stop signal that is none', ['--stop-signal', 'SIGNOTHING'], /^tscrun: .*SIGNOTHING/],
    ['an init and a terminal that is none', ['-t', '--init'], /^tscrun: --tty: standard output is not a terminal/],
  ])('%s', async (_, flags, words) => {
    expectRefusal(await machine.run(flags, ['true']), 125, words)
  })

  it('a file over a directory, and a directory over a file', async () => {
    const [file, directory] = [join(machine.rootfs, 'etc/passwd'), join(machine.rootfs, 'var')]
    expectRefusal(
      await machine.run(['-v', `${file}:/tmp`], ['true']),
      125,
      /^tscrun: openat2: prepare the mount point \/tmp: it is a directory \(EISDIR\)/,
    )
    expectRefusal(
      await machine.run(['-v', `${directory}:/etc/passwd`], ['true']),
      125,
      /^tscrun: openat2: prepare the mount point \/etc\/passwd: not a directory \(ENOTDIR\)/,
    )
  })

  it('a mount point that cannot be made', async () => {
    const directory = join(machine.rootfs, 'var')
    expectRefusal(
      await machine.run(['-v', `${directory}:/a:ro`, '-v', `${directory}:/a/absent`], ['true']),
      125,
      /^tscrun: openat2: prepare the mount point \/a\/absent: read-only filesystem \(EROFS\) \(make it there beforehand/,
    )
  })

  it('a root filesystem that is no directory', async () => {
    expectRefusal(
      await machine.tscrun(['run', '--rm', '--rootfs', '/etc/passwd', 'true']),
      125,
      /^tscrun: --rootfs \/etc\/passwd: not a directory/,
    )
    expectRefusal(
      await machine.tscrun(['run', '--rm', '--rootfs', '/absent:O', 'true']),
      125,
      /^tscrun: --rootfs \/absent: not a directory/,
    )
  })

  it('an empty root filesystem', async () => {
    const empty = join(machine.directory, 'empty')
    mkdirSync(empty, { recursive: true })
    expectRefusal(
      await machine.tscrun(['run', '--rm', '--rootfs', `${empty}:O`, 'sh']),
      127,
      /^tscrun: exec "sh": executable file not found/,
    )
  })

  it('no command', async () => {
    expectRefusal(await machine.run([], []), 125, /^tscrun: no command/)
  })

  it('no image', async () => {
    expectRefusal(await machine.tscrun(['run', '--rm']), 125, /^tscrun: /)
  })

  it('an image name that is none', async () => {
    expectRefusal(await machine.tscrun(['run', '--rm', 'Upper/Case']), 125, /^tscrun: image name "Upper\/Case"/)
  })

  it('an image that may not be pulled and is not there', async () => {
    expectRefusal(await machine.tscrun(['run', '--rm', '--pull', 'never', 'absent']), 125, /^tscrun: .*absent/)
  })

  it('a registry where nobody answers', async () => {
    expectRefusal(await machine.tscrun(['run', '--rm', '-q', '127.0.0.1:9/absent']), 125, /^tscrun: .*127\.0\.0\.1:9/)
  })

  it('an unknown command, with the one that was meant', async () => {
    expectRefusal(await machine.tscrun(['rnu', 'alpine']), 125, /^tscrun: .*"rnu" \(did you mean run\?\)/)
  })
})

describe('where tscrun itself gets no further', () => {
  const shell = (script: string) =>
    execa('sh', ['-c', script, 'sh', TSCRUN, '--root', machine.store, '--runroot', machine.runRoot], {
      reject: false,
      stripFinalNewline: false,
      stdin: 'ignore',
    }) as unknown as Promise<Ended>

  it('its output on a full disk is one line', async () => {
    expectRefusal(
      await shell('"$@" images >/dev/full'),
      125,
      /^tscrun: write standard output: ENOSPC \(free some space/,
    )
    expect(await shell('"$@" rnu 2>/dev/full')).toMatchObject({ exitCode: 125, stderr: '' })
  })

  it('a current directory that was deleted is in the way of relative paths only', async () => {
    const gone = `mkdir ${machine.directory}/gone; cd ${machine.directory}/gone; rmdir ../gone; exec 2>&1`
    const run = `"$@" run --rm --rootfs ${machine.rootfs}:O`
    expect(await shell(`${gone}; ${run} echo here`)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/here$/m),
    })
    const relative = await shell(`${gone}; ${run} -v ./x:/x true`)
    expect(relative).toMatchObject({
      exitCode: 125,
      stdout: expect.stringMatching(/^tscrun: path \.\/x: the current directory is gone \(/m),
    })
  })
})

describe('the store', () => {
  const run = (store: string): string =>
    `${TSCRUN} --root ${store} --runroot ${store}-run run --rm --rootfs ${machine.rootfs}:O true`

  /** In a mount namespace of its own, so that nothing of it is left. */
  async function isolated(script: string): Promise<Ended> {
    return (await execa('unshare', ['--mount', '--propagation', 'private', 'sh', '-ec', script], {
      reject: false,
      stripFinalNewline: false,
      stdin: 'ignore',
    })) as unknown as Ended
  }

  it('on a full disk is one line, and nothing is left half-made', async () => {
    const image = join(machine.directory, 'disk')
    const store = join(machine.directory, 'full')
    mkdirSync(store)
    execFileSync('truncate', ['-s', '2M', image])
    execFileSync('mkfs.ext4', ['-q', '-N', '64', image])
    const fill = `mount -o loop ${image} ${store}; mkdir ${store}/s ${store}/s-run; i=0; while mkdir ${store}/s/d$i 2>/dev/null; do i=$((i+1)); done`
    const result = await isolated(
      `${fill}; ${run(`${store}/s`)} 2>&1 || { echo code $?; find ${store} -path '*containers/*'; umount ${store}; }`,
    )
    expect(result.stdout).toMatch(/^tscrun: write to the store \S+ or \S+: ENOSPC \(free some space.*\)\ncode 125\n$/)
  })

  it('that is read-only is one line', async () => {
    const store = join(machine.directory, 'read-only')
    mkdirSync(store)
    const result = await isolated(`mount -t tmpfs -o ro tscrun-test ${store}; ${run(`${store}/s`)}`)
    expect(result.exitCode).toBe(125)
    expectOneLine(result.stderr, /^tscrun: write to the store \S+ or \S+: EROFS/)
  })

  it('that is a file is one line', async () => {
    const store = join(machine.directory, 'file')
    writeFileSync(store, '')
    const result = await isolated(run(store))
    expect(result.exitCode).toBe(125)
    expectOneLine(result.stderr, /^tscrun: write to the store \S+ or \S+: (ENOTDIR|EEXIST)/)
    for (const words of [['images'], ['image', 'verify'], ['image', 'verify', 'a'], ['image', 'mount', 'a'], ['ps']]) {
      const { exitCode, stderr } = await machine.tscrun(['--root', store, ...words])
      expect([words, exitCode]).toEqual([words, 125])
      expectOneLine(stderr, /: ENOTDIR \(a part of the path is no directory; for the store choose another --root/)
    }
  })

  it('with a record that is no JSON names the file', async () => {
    const { exitCode } = await machine.tscrun(['run', '--name', 'broken', '--rootfs', `${machine.rootfs}:O`, 'true'])
    expect(exitCode).toBe(0)
    const [id = ''] = machine.containers()
    const path = join(machine.store, 'containers', id, 'container.json')
    writeFileSync(path, '{')
    const result = await machine.tscrun(['ps', '-a'])
    expect(result.exitCode).toBe(125)
    expectOneLine(result.stderr, new RegExp(`^tscrun: read ${path}`))
    execFileSync('rm', ['-r', join(machine.store, 'containers', id), join(machine.store, 'names', 'broken')])
    execFileSync('rm', ['-rf', join(machine.store, 'ranges')])
    mkdirSync(join(machine.store, 'ranges'), { mode: 0o700 })
  })
})

describe('a limit on the size of files', () => {
  const limited = async (...args: readonly string[]): Promise<Ended> => {
    const command = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, ...args]
    const options = { reject: false, stripFinalNewline: false, env: { TSCRUN_NODE: process.execPath } } as const
    return (await execa('sh', ['-c', 'ulimit -f 1; exec "$@"', 'sh', ...command], options)) as unknown as Ended
  }

  it.each([['--rm'], ['-d']])('that is too small for run %s is told in one line', async (flag) => {
    const result = await limited('run', flag, '--network', 'none', '--rootfs', `${machine.rootfs}:O`, 'true')
    expectRefusal(result, 125, /^tscrun: write.*: EFBIG \(raise the limit on the size of files: ulimit -f\)/)
  })

  it('does not undo what was done where only the events are too long', async () => {
    for (const name of Array.from({ length: 10 }, (_, i) => `volume${i}`))
      expect(await limited('volume', 'create', name)).toMatchObject({ exitCode: 0, stdout: `${name}\n`, stderr: '' })
    await machine.tscrun(['volume', 'prune', '-af'])
  })
})

describe('an ordinary user', () => {
  it('is told in one line that root is needed', async () => {
    const home = join(machine.directory, 'of-user')
    mkdirSync(home)
    chmodSync(machine.directory, 0o755)
    const result = (await execa(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        TSCRUN,
        '--root',
        join(home, 's'),
        '--runroot',
        join(home, 'r'),
        'run',
        '--rm',
        '--rootfs',
        '/:O',
        'true',
      ],
      {
        reject: false,
        stripFinalNewline: false,
        env: { TSCRUN_NODE: process.execPath },
      },
    )) as unknown as Ended
    expectRefusal(result, 125, /^tscrun: running a container needs root here \(use sudo/)
    expect(existsSync(join(home, 's'))).toBe(false)
  })
})
