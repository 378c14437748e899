import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

describe('/dev', () => {
  it('is complete, and owned by root', async () => {
    const text = await machine.sh(
      'cd /dev; stat -c "%n %F %t:%T %a %u:%g" full null random tty urandom zero; for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done',
    )
    expect(text.split('\n')).toEqual([
      'full character special file 1:7 666 0:0',
      'null character special file 1:3 666 0:0',
      'random character special file 1:8 666 0:0',
      'tty character special file 5:0 666 0:0',
      'urandom character special file 1:9 666 0:0',
      'zero character special file 1:5 666 0:0',
      'fd /proc/self/fd',
      'stdin /proc/self/fd/0',
      'stdout /proc/self/fd/1',
      'stderr /proc/self/fd/2',
      'ptmx pts/ptmx',
    ])
  })

  it('has nothing else', async () => {
    expect((await machine.sh('ls -A /dev')).split('\n')).toEqual([
      'fd',
      'full',
      'mqueue',
      'null',
      'ptmx',
      'pts',
      'random',
      'shm',
      'stderr',
      'stdin',
      'stdout',
      'tty',
      'urandom',
      'zero',
    ])
  })

  it('has devices that work', async () => {
    expect(
      await machine.sh(
        'echo gone > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/full 2>/dev/null || echo full',
      ),
    ).toBe('4\n4\nfull')
  })

  it('lets nobody make device nodes that work, also with CAP_MKNOD', async () => {
    const { exitCode } = await machine.run([], ['sh', '-c', 'mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk'])
    expect(exitCode).not.toBe(0)
  })

  it('gets a device by --device', async () => {
    expect(
      await machine.sh('stat -c "%t:%T" /dev/also-null && echo x > /dev/also-null && echo ok', [
        '--device',
        '/dev/null:/dev/also-null:rw',
      ]),
    ).toBe('1:3\nok')
  })
})

describe('masked and read-only paths', () => {
  it('show nothing', async () => {
    const text = await machine.sh(
      'cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls /sys/firmware /proc/acpi 2>/dev/null | grep -v : | grep -vc "^$" || true',
    )
    expect(text).toBe('0\n0')
  })

  it('cannot be written, by root of the container with every capability that a user may add', async () => {
    const paths = [
      '/proc/sys/vm/swappiness',
      '/proc/sysrq-trigger',
      '/proc/sys/kernel/core_pattern',
      '/sys/kernel/mm/transparent_hugepage/enabled',
      '/proc/irq/default_smp_affinity',
    ]
    for (const path of paths.filter((path) => existsSync(path))) {
      const { stderr, exitCode } = await machine.run(['--cap-add', 'all'], ['sh', '-c', `echo 1 > ${path}`])
      expect({ path, exitCode }).toEqual({ path, exitCode: 1 })
      expect(stderr).toMatch(/Read-only file system|Permission denied/)
    }
  })

  it('follow --security-opt mask= and unmask=', async () => {
    expect(await machine.sh('ls /etc | wc -l', ['--security-opt', 'mask=/etc'])).toBe('0')
    expect(
      Number(await machine.sh('cat /proc/interrupts | wc -c', ['--security-opt', 'unmask=/proc/interrupts'])),
    ).toBeGreaterThan(0)
    expect(
      Number(await machine.sh('cat /proc/timer_list | wc -c', ['--userns', 'host', '--security-opt', 'unmask=ALL'])),
    ).toBeGreaterThan(0)
  })

  it('have nothing to write to: the empty directory takes no files', async () => {
    const { exitCode } = await machine.run(['--security-opt', 'mask=/home'], ['sh', '-c', 'touch /home/x'])
    expect(exitCode).not.toBe(0)
  })
})

describe('the session keyring', () => {
  it("is another than the host's, and a new one each time", async () => {
    const ours = (await execa(join(machine.rootfs, 'bin/probe'), ['keyring'])).stdout
    const flags = ['--security-opt', 'seccomp=unconfined']
    const [first, second] = [await machine.sh('probe keyring', flags), await machine.sh('probe keyring', flags)]
    expect(new Set([ours, first, second]).size).toBe(3)
    for (const serial of [first, second]) expect(Number(serial)).toBeGreaterThan(0)
  })
})
