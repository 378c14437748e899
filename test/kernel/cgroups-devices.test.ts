import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../../src/cgroups/devices.ts'
import type { OciDeviceRule } from '../../src/model/config.ts'
import { loadKoffi } from '../../src/syscall/ffi.ts'
import { syscall, trySyscall } from '../../src/syscall/call.ts'

const BPF_PROG_LOAD = 5
const BPF_PROG_ATTACH = 8
const BPF_PROG_TYPE_CGROUP_DEVICE = 15
const BPF_CGROUP_DEVICE = 6
const ROOT = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.controllers')))

/** A loaded program's descriptor. The verifier's log is asked for only after it refused, since a long one is a failure. */
function load(program: Buffer): number {
  const licence = Buffer.from('Apache-2.0\0')
  const log = Buffer.alloc(2 ** 20)
  const attr = Buffer.alloc(128)
  attr.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0)
  attr.writeUInt32LE(program.length / 8, 4)
  attr.writeBigUInt64LE(loadKoffi().address(program), 8)
  attr.writeBigUInt64LE(loadKoffi().address(licence), 16)
  // With a signal pending, as one of V8's, the verifier gives up (bpf(2), EAGAIN).
  let result = -constants.errno.EAGAIN
  for (let tries = 0; tries < 5 && result === -constants.errno.EAGAIN; tries++)
    result = trySyscall('bpf', [BPF_PROG_LOAD, attr, attr.length])
  if (result >= 0) return result
  attr.writeUInt32LE(1, 24)
  attr.writeUInt32LE(log.length, 28)
  attr.writeBigUInt64LE(loadKoffi().address(log), 32)
  trySyscall('bpf', [BPF_PROG_LOAD, attr, attr.length])
  throw new Error(`errno ${-result}, the verifier: ${log.toString('latin1').replaceAll('\0', '').slice(-500)}`)
}

function attach(program: number, directory: string): void {
  const target = openSync(directory, 'r')
  const attr = Buffer.alloc(16)
  attr.writeUInt32LE(target, 0)
  attr.writeUInt32LE(program, 4)
  attr.writeUInt32LE(BPF_CGROUP_DEVICE, 8)
  try {
    syscall('bpf', [BPF_PROG_ATTACH, attr, attr.length])
  } finally {
    closeSync(target)
  }
}

describe('the device filter in the kernel', () => {
  let cgroup: string
  let work: string

  beforeEach(() => {
    cgroup = join(ROOT ?? expect.fail('no cgroup v2 hierarchy'), `tscrun-test-devices-${process.pid}`)
    mkdirSync(cgroup)
    work = mkdtempSync(join(tmpdir(), 'devices-'))
  })

  afterEach(() => {
    rmdirSync(cgroup)
    rmSync(work, { recursive: true })
  })

  /** What a shell in the cgroup says to each command: `ok` or the reason. */
  function inCgroup(rules: readonly OciDeviceRule[], commands: readonly string[]): string[] {
    const program = load(compileDeviceFilter(rules))
    try {
      attach(program, cgroup)
    } finally {
      closeSync(program)
    }
    const script = commands.map((command) => `(${command}) 2>&1 >/dev/null && echo ok`).join('; ')
    // The redirections of sh itself need no device; those of the commands are what is tested.
    const { stdout } = spawnSync('/bin/sh', ['-c', `echo $$ > ${cgroup}/cgroup.procs; cd ${work}; ${script}`], {
      encoding: 'utf8',
    })
    return stdout
      .trimEnd()
      .split('\n')
      .map((line) => /ok|Operation not permitted|No such device/.exec(line)?.[0] ?? line)
  }

  const EPERM = 'Operation not permitted'

  it('opens the default devices and makes any node, but opens no other', () => {
    const commands = [
      'head -c 1 /dev/zero',
      'head -c 1 /dev/full',
      'head -c 1 /dev/urandom',
      'mknod kmsg c 1 11',
      'cat kmsg',
      'echo x > kmsg',
      'mknod disk b 259 9999',
      'cat disk',
      'mknod zero c 1 5',
      'head -c 1 zero',
    ]
    expect(inCgroup(DEFAULT_DEVICE_RULES, commands)).toEqual([
      'ok',
      'ok',
      'ok',
      'ok',
      EPERM,
      EPERM,
      'ok',
      EPERM,
      'ok',
      'ok',
    ])
  })

  it('lets the last rule decide, kind by kind', () => {
    const rules: OciDeviceRule[] = [
      ...DEFAULT_DEVICE_RULES,
      { allow: false, type: 'c', major: 1, minor: 5, access: 'w' },
      { allow: false, access: 'm' },
    ]
    const commands = ['head -c 1 /dev/zero', 'printf x > /dev/zero', 'mknod null c 1 3', 'head -c 1 /dev/null']
    expect(inCgroup(rules, commands)).toEqual(['ok', EPERM, EPERM, 'ok'])
  })

  it.each<[string, OciDeviceRule[]]>([
    ['no rules', []],
    ['one that allows everything', [{ allow: true }]],
    ['one that refuses everything', [{ allow: true, type: 'c' }, { allow: false }]],
    [
      'partial rules of every shape',
      [
        { allow: true, type: 'a', access: 'r' },
        { allow: false, type: 'b', minor: 0xffffffff, access: 'wm' },
        { allow: true, major: 5, access: 'mr' },
      ],
    ],
    [
      'hundreds',
      Array.from({ length: 400 }, (_, minor) => ({
        allow: minor % 3 > 0,
        type: 'c' as const,
        major: 10,
        minor,
        access: minor % 2 ? 'rw' : 'rwm',
      })),
    ],
  ])('passes the verifier with %s', (_, rules) => {
    const program = load(compileDeviceFilter(rules))
    expect(program).toBeGreaterThan(2)
    closeSync(program)
  })
})
