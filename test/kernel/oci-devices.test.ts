import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { loadProgram, replaceDeviceFilter } from '../../src/cgroups/device-program.ts'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../../src/cgroups/devices.ts'
import type { OciConfig, OciDeviceRule } from '../../src/model/config.ts'
import { syscall } from '../../src/syscall/call.ts'
import { loadKoffi } from '../../src/syscall/ffi.ts'
import { makeOciHost, type OciHost } from './fixtures/oci.ts'
import type { Ended } from '../oci/fixtures/place.ts'

/** bpf(2), linux/bpf.h. */
const BPF = { PROG_ATTACH: 8, PROG_QUERY: 16 } as const
const DEVICE_HOOK = 6
const ALLOW_MULTI = 2

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
  fs.mkdirSync(join(host.rootfs, 'nodes'))
})
afterEach(() => host.clear())
afterAll(() => host.dispose())

/** Whether a process that joins the container may write to /dev/kmsg. */
async function mayUseKmsg(): Promise<boolean> {
  const script = 'rm -f /nodes/k; mknod /nodes/k c 1 11 && : >/nodes/k'
  return (await host.oci(['exec', '--cap', 'MKNOD', 'devices', 'sh', '-c', script])).exitCode === 0
}

const kmsg = (allow: boolean): OciDeviceRule[] => [
  { allow: false, access: 'rwm' },
  { allow, type: 'c', major: 1, minor: 11, access: 'rw' },
]

const update = (devices: readonly OciDeviceRule[]): Promise<Ended> =>
  host.oci(['update', '-r', '-', 'devices'], { input: JSON.stringify({ devices }) })
const DONE: Ended = { exitCode: 0, stdout: '', stderr: '' }

/** An action on the container's cgroup, open. */
function onCgroup<T>(action: (fd: number) => T): T {
  const fd = fs.openSync(join(host.place.cgroup, 'tscrun-runtime/devices'), 'r')
  try {
    return action(fd)
  } finally {
    fs.closeSync(fd)
  }
}

/** Ids of the device filters that are attached to the container's cgroup, in the order of the kernel. */
function attachedIds(): number[] {
  const [ids, query] = [Buffer.alloc(4 * 8), Buffer.alloc(64)]
  query.writeUInt32LE(DEVICE_HOOK, 4)
  query.writeBigUInt64LE(loadKoffi().address(ids), 16)
  query.writeUInt32LE(8, 24)
  onCgroup((fd) => {
    query.writeUInt32LE(fd, 0)
    syscall('bpf', [BPF.PROG_QUERY, query, query.length])
  })
  return Array.from({ length: query.readUInt32LE(24) }, (_, index) => ids.readUInt32LE(4 * index))
}

/** Attaches a filter beside what is there, as systemd does for a unit with DevicePolicy; answers its id. */
function attachForeign(rules: readonly OciDeviceRule[]): number {
  const before = attachedIds()
  const program = loadProgram(compileDeviceFilter(rules))
  const request = Buffer.alloc(64)
  try {
    onCgroup((fd) => {
      for (const [index, word] of [fd, program, DEVICE_HOOK, ALLOW_MULTI].entries())
        request.writeUInt32LE(word, 4 * index)
      syscall('bpf', [BPF.PROG_ATTACH, request, request.length])
    })
  } finally {
    fs.closeSync(program)
  }
  return attachedIds().find((id) => !before.includes(id)) ?? expect.fail('it is not attached')
}

it('update replaces the device filter of a running container, and nothing of the old one stays', async () => {
  await host.start('devices', host.bundle())
  expect(await mayUseKmsg()).toBe(false)
  expect(await update(kmsg(true))).toEqual(DONE)
  expect(await mayUseKmsg()).toBe(true)
  expect(await update(kmsg(false))).toEqual(DONE)
  expect(await mayUseKmsg()).toBe(false)
  expect((await host.oci(['exec', 'devices', 'sh', '-c', ': >/dev/null'])).exitCode).toBe(0)
  expect(attachedIds()).toHaveLength(1)
})

it('update knows our filter among those of others, whichever rules it has had before, and leaves theirs', async () => {
  await host.start('devices', host.bundle())
  const foreign = attachForeign([{ allow: true }])
  expect(attachedIds()).toHaveLength(2)
  for (const allow of [true, false, true]) {
    expect(await update(kmsg(allow))).toEqual(DONE)
    expect(await mayUseKmsg()).toBe(allow)
    expect(attachedIds()).toHaveLength(2)
    expect(attachedIds()).toContain(foreign)
  }
})

it('update with the rules that are in force changes nothing', async () => {
  await host.start('devices', host.bundle())
  attachForeign([{ allow: true }])
  await update(kmsg(true))
  const before = attachedIds()
  expect(await update(kmsg(true))).toEqual(DONE)
  expect(attachedIds()).toEqual(before)
})

it("update puts the rules in force though somebody else's filter has the very same code", async () => {
  await host.start('devices', host.bundle())
  expect(await update(kmsg(true))).toEqual(DONE)
  const [ours] = attachedIds()
  const foreign = attachForeign([...kmsg(false), ...DEFAULT_DEVICE_RULES])
  expect(await update(kmsg(false))).toEqual(DONE)
  expect(attachedIds()).toHaveLength(2)
  expect(attachedIds()).toContain(foreign)
  expect(attachedIds()).not.toContain(ours)
})

it('update refuses where one of several others has the code that ours had', async () => {
  await host.start('devices', host.bundle())
  expect(await update(kmsg(true))).toEqual(DONE)
  attachForeign([...kmsg(true), ...DEFAULT_DEVICE_RULES])
  const before = attachedIds()
  const { exitCode, stderr } = await update(kmsg(false))
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/^tscrun-runtime: bpf: 2 device filters are attached to the cgroup \(.*\)\n$/)
  expect(attachedIds()).toEqual(before)
})

it('update of a container without device rules leaves the filter of others, and attaches ours beside it', async () => {
  await host.start('devices', host.bundle(withoutDeviceRules))
  const foreign = attachForeign([{ allow: true }])
  expect(attachedIds()).toEqual([foreign])
  expect(await mayUseKmsg()).toBe(true)
  expect(await update(kmsg(false))).toEqual(DONE)
  expect(await mayUseKmsg()).toBe(false)
  expect(attachedIds()).toHaveLength(2)
  expect(attachedIds()).toContain(foreign)
})

it('update refuses, and changes nothing, where ours is none of several filters', async () => {
  await host.start('devices', host.bundle())
  attachForeign([{ allow: true }])
  const before = attachedIds()
  const file = join(host.root, 'devices/config.json')
  const config = JSON.parse(fs.readFileSync(file, 'utf8')) as OciConfig
  const devices = kmsg(true)
  fs.writeFileSync(file, JSON.stringify({ ...config, linux: { ...config.linux, resources: { devices } } }))
  const { exitCode, stderr } = await update(kmsg(false))
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/^tscrun-runtime: bpf: 2 device filters are attached to the cgroup \(.*\)\n$/)
  expect(attachedIds()).toEqual(before)
})

it('leaves no descriptor where the kernel does not take what it is asked', () => {
  const descriptors = (): string[] => fs.readdirSync('/proc/self/fd')
  const before = descriptors()
  const notACgroup = fs.openSync('/', 'r')
  try {
    const program = compileDeviceFilter(kmsg(true))
    expect(() => replaceDeviceFilter(notACgroup, program, program)).toThrow(/^bpf device filters: /)
  } finally {
    fs.closeSync(notACgroup)
  }
  expect(descriptors()).toEqual(before)
})

function withoutDeviceRules(config: OciConfig): OciConfig {
  const { devices: _, ...resources } = config.linux?.resources ?? {}
  return { ...config, linux: { ...config.linux, resources } }
}
