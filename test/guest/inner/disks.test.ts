import { readFileSync } from 'node:fs'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { DISK, hold, run, until } from './fixtures/containers.ts'

/** `254:16`. */
const NUMBERS = readFileSync(`/sys/class/block/${DISK.slice('/dev/'.length)}/dev`, 'utf8').trim()
const [MAJOR = '', MINOR = ''] = NUMBERS.split(':')

/** Bytes that a container has read from the disk. */
function bytesRead(ioStat: string): number {
  const line = ioStat.split('\n').find((text) => text.startsWith(`${NUMBERS} `))
  return Number(/ rbytes=(\d+)/.exec(line ?? '')?.[1] ?? 0)
}

describe('rates of a disk', () => {
  it.each([
    [['--device-read-bps', `${DISK}:1mb`], 'rbps=1048576 wbps=max riops=max wiops=max'],
    [['--device-write-bps', `${DISK}:2mb`], 'rbps=max wbps=2097152 riops=max wiops=max'],
    [
      ['--device-read-iops', `${DISK}:100`, '--device-write-iops', `${DISK}:200`],
      'rbps=max wbps=max riops=100 wiops=200',
    ],
    [
      ['--device-read-bps', `${DISK}:1mb`, '--device-write-bps', `${DISK}:2mb`, '--device-read-iops', `${DISK}:300`],
      'rbps=1048576 wbps=2097152 riops=300 wiops=max',
    ],
  ])('%j are in io.max', async (flags, expected) => {
    expect((await run(flags, 'cat /sys/fs/cgroup/io.max')).stdout).toBe(`${NUMBERS} ${expected}`)
  })

  it('hold: while one container reads the whole disk, another that began before has read less', async () => {
    const slow = await hold(
      ['--device', DISK, '--device-read-bps', `${DISK}:256kb`],
      `dd if=${DISK} of=/dev/null bs=64k iflag=direct 2>/dev/null &`,
    )
    await until(() => bytesRead(slow.read('io.stat')) > 0)
    const fast = await run(
      ['--device', DISK],
      `dd if=${DISK} of=/dev/null bs=1M count=48 iflag=direct 2>/dev/null && cat /sys/fs/cgroup/io.stat`,
    )
    const readBySlow = bytesRead(slow.read('io.stat'))
    await slow.end()
    expect(bytesRead(fast.stdout)).toBe(48 * 2 ** 20)
    expect(readBySlow).toBeGreaterThan(0)
    expect(readBySlow).toBeLessThan(24 * 2 ** 20)
  })

  it('of what is no device are refused', async () => {
    await expect(run(['--device-read-bps', '/dev/absent:1mb'], ':')).rejects.toThrow(/\/dev\/absent: no such file/)
  })
})

describe('--blkio-weight', () => {
  it('is io.weight, over the whole of its own range', async () => {
    expect((await run(['--blkio-weight', '10'], 'cat /sys/fs/cgroup/io.weight')).stdout).toBe('default 1')
    expect((await run(['--blkio-weight', '1000'], 'cat /sys/fs/cgroup/io.weight')).stdout).toBe('default 10000')
  })

  it("is BFQ's own file where that scheduler is loaded", async () => {
    await execa('modprobe', ['bfq'])
    try {
      expect((await run(['--blkio-weight', '321'], 'cat /sys/fs/cgroup/io.bfq.weight')).stdout).toBe('default 321')
    } finally {
      await execa('modprobe', ['--remove', 'bfq'])
    }
  })
})

describe('devices', () => {
  const open = (path: string, mode = 'if'): string =>
    `dd ${mode}=${path} ${mode === 'if' ? 'of=/dev/null' : 'if=/dev/null'} bs=512 count=1 2>&1`
  const node = `mknod /tmp/disk b ${MAJOR} ${MINOR} 2>&1`

  it('are not made by root of a user namespace', async () => {
    const { exitCode, stdout } = await run([], node)
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: 'mknod: /tmp/disk: Operation not permitted' })
  })

  it("are made but not opened by root of the host's user namespace: the filter answers EPERM", async () => {
    const { exitCode, stdout } = await run(['--userns', 'host'], `${node} && ls -l /tmp/disk && ${open('/tmp/disk')}`)
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^b.* \/tmp\/disk\n/)
    expect(stdout).toMatch(/can't open '\/tmp\/disk': Operation not permitted$/)
  })

  it('that every container has can be opened under the filter', async () => {
    const { exitCode, stdout } = await run(
      ['--userns', 'host'],
      ': </dev/null; dd if=/dev/zero of=/dev/full bs=1 count=1 2>&1; dd if=/dev/urandom of=/dev/null bs=1 count=1',
    )
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('No space left on device') as string,
    })
  })

  it.each([['auto'], ['host']])('given by --device can be read and written, with --userns %s', async (userns) => {
    const { exitCode, stdout } = await run(
      ['--userns', userns, '--device', DISK],
      `${open(DISK)} && ${open(DISK, 'of')}`,
    )
    expect(exitCode, stdout).toBe(0)
  })

  it('given for reading alone cannot be written, also not by another node', async () => {
    const script = `{ ${open(DISK)}; } >/dev/null && echo read; ${open(DISK, 'of')}
      ${node}; ${open('/tmp/disk', 'of')}; { ${open('/tmp/disk')}; } >/dev/null && echo read`
    const { stdout } = await run(['--userns', 'host', '--device', `${DISK}:${DISK}:r`], script)
    expect(stdout.split('\n')).toEqual([
      'read',
      `dd: can't open '${DISK}': Operation not permitted`,
      "dd: can't open '/tmp/disk': Operation not permitted",
      'read',
    ])
  })

  it('are open to --device-cgroup-rule, and all of them to --privileged', async () => {
    const script = `${node} && ${open('/tmp/disk')}`
    const rule = await run(['--userns', 'host', '--device-cgroup-rule', `b ${MAJOR}:* r`], script)
    expect(rule.exitCode, rule.stdout).toBe(0)
    const privileged = await run(['--privileged'], `${script} && ${open(DISK)}`)
    expect(privileged.exitCode, privileged.stdout).toBe(0)
  })
})
