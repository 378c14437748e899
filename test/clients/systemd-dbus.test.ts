import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Connection, openConnection } from '../../src/cgroups/systemd/connection.ts'
import { bodyOf, type Received } from '../../src/cgroups/systemd/message.ts'
import { openSystemd } from '../../src/cgroups/systemd/open.ts'
import type { DbusValue } from '../../src/cgroups/systemd/signature.ts'

const BUS = 'org.freedesktop.DBus'
const BUS_OBJECT = { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS } as const

let directory = ''
let socket = ''
let address = ''
let daemon: ChildProcess

/** Debian's dbus-daemon, which checks every message, on a socket of its own. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-dbus-'))
  socket = join(directory, 'bus')
  address = `unix:path=${socket}`
  const config = join(directory, 'bus.conf')
  writeFileSync(
    config,
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>${address}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`,
  )
  daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await firstLine(daemon, /^unix:path=/)
})

afterAll(async () => {
  const ended = new Promise((resolve) => daemon.once('exit', resolve))
  daemon.kill()
  await ended
  rmSync(directory, { recursive: true })
})

/** Waits for a line of a program's output. */
async function firstLine(program: ChildProcess, pattern: RegExp): Promise<string> {
  if (!program.stdout) throw new Error('no output')
  for await (const line of createInterface({ input: program.stdout })) if (pattern.test(line)) return line
  throw new Error(`it ended without ${pattern}`)
}

async function connection(signal = new AbortController().signal): Promise<Connection> {
  const opened = await openConnection(socket, { bus: true, signal })
  onTestFinished(() => opened.close())
  return opened
}

describe('a connection to a real bus', () => {
  it('authenticates, says Hello and is known by the name it was given', async () => {
    const { name, call } = await connection()
    expect(name).toMatch(/^:1\.\d+$/)
    const { sender, values } = await call({ ...BUS_OBJECT, member: 'ListNames' })
    expect(sender).toBe(BUS)
    expect(values[0]).toEqual(expect.arrayContaining([BUS, name]))
    const { values: user } = await call({
      ...BUS_OBJECT,
      member: 'GetConnectionUnixUser',
      signature: 's',
      values: [name!],
    })
    expect(user).toEqual([process.geteuid!()])
  })

  it('keeps the answers to many calls at once apart', async () => {
    const { call } = await connection()
    const names = Array.from({ length: 50 }, (_, index) => `a.b.c${index}`)
    for (const name of names.slice(0, 25)) {
      await call({ ...BUS_OBJECT, member: 'RequestName', signature: 'su', values: [name, 0] })
    }
    const answers = names.map(async (name) => {
      const { values } = await call({ ...BUS_OBJECT, member: 'NameHasOwner', signature: 's', values: [name] })
      return values[0]
    })
    expect(await Promise.all(answers)).toEqual(names.map((_, index) => index < 25))
  })

  it('reads variants in dictionaries, as the bus writes them', async () => {
    const { name, call } = await connection()
    const { values } = await call({
      ...BUS_OBJECT,
      member: 'GetConnectionCredentials',
      signature: 's',
      values: [name!],
    })
    const credentials = new Map(values[0] as [string, DbusValue][])
    expect(credentials.get('UnixUserID')).toEqual({ signature: 'u', value: process.geteuid!() })
    expect(credentials.get('ProcessID')).toEqual({ signature: 'u', value: process.pid })
  })

  it('rejects with the name and the words of an error', async () => {
    const { call } = await connection()
    await expect(call({ ...BUS_OBJECT, member: 'NoSuchThing' })).rejects.toMatchObject({
      code: 'SYSTEMD',
      subject: 'org.freedesktop.DBus.Error.UnknownMethod',
      message: expect.stringMatching(/NoSuchThing/) as string,
    })
    await expect(call({ ...BUS_OBJECT, destination: 'a.b.absent', member: 'X' })).rejects.toMatchObject({
      subject: 'org.freedesktop.DBus.Error.ServiceUnknown',
    })
  })

  it('writes a large message of every type that the bus finds well-formed and dbus-monitor reads as it was meant', async () => {
    const [from, to] = [await connection(), await connection()]
    const monitor = spawn('dbus-monitor', ['--address', address, "member='Everything'"], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let shown = ''
    monitor.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text))
    const ended = new Promise((resolve) => monitor.once('exit', resolve))
    onTestFinished(async () => {
      monitor.kill()
      await ended
    })
    await expect.poll(() => shown, { timeout: 20_000 }).toMatch(/NameAcquired|NameLost/)
    const values: DbusValue[] = [
      7,
      true,
      -3,
      65_000,
      -70_000,
      4_000_000_000,
      -5n,
      2n ** 64n - 1n,
      0.5,
      'wörd'.repeat(50_000),
      '/an/object',
      'a{sv}',
      [['PIDs', { signature: 'au', value: [1, 2] }]],
      [['k', { signature: 'v', value: { signature: 's', value: 'deep' } }]],
    ]
    // Nobody offers anything here; what matters is that it arrived.
    const call = { path: '/x', interface: 'a.b', member: 'Everything', destination: to.name! }
    await expect(from.call({ ...call, signature: 'ybnqiuxtdsoga(sv)a{sv}', values })).rejects.toMatchObject({
      subject: 'org.freedesktop.DBus.Error.UnknownMethod',
    })
    await expect.poll(() => shown, { timeout: 20_000 }).toMatch(/"deep"/)
    const lines = shown.slice(shown.indexOf('Everything')).split('\n')
    const words = lines.slice(1, 13).map((line) => line.trim().replace(/(wörd)+/, 'wörd'))
    expect(words).toEqual([
      'byte 7',
      'boolean true',
      'int16 -3',
      'uint16 65000',
      'int32 -70000',
      'uint32 4000000000',
      'int64 -5',
      'uint64 18446744073709551615',
      'double 0.5',
      'string "wörd"',
      'object path "/an/object"',
      'signature "a{sv}"',
    ])
    expect(lines.slice(13).join('').replaceAll(/\s+/g, ' ')).toMatch(
      /array \[ struct \{ string "PIDs" variant array \[ uint32 1 uint32 2 \] \} \] array \[ dict entry\( string "k" variant variant string "deep" \) \]/,
    )
  })

  it('hears the signals it asked for, as dbus-send and busctl write them', async () => {
    const { call, listen } = await connection()
    await call({
      ...BUS_OBJECT,
      member: 'AddMatch',
      signature: 's',
      values: ["type='signal',interface='t.s',arg2='unit'"],
    })
    const heard: Received[] = []
    const stop = listen((event) => {
      if (!(event instanceof Error) && event.interface === 't.s') heard.push(event)
    })
    const send = (...args: string[]): Buffer =>
      execFileSync('dbus-send', [`--bus=${address}`, '--type=signal', '/o', ...args])
    send('t.s.JobRemoved', 'uint32:5', 'objpath:/job/5', 'string:other', 'string:done')
    send('t.s.JobRemoved', 'uint32:6', 'objpath:/job/6', 'string:unit', 'string:done')
    execFileSync('busctl', [
      `--address=${address}`,
      'emit',
      '/o',
      't.s',
      'X',
      'sasa{sv}',
      'a',
      '1',
      'b',
      '1',
      'unit',
      't',
      '9',
    ])
    send(
      't.s.Dict',
      'double:1.5',
      'int16:-1',
      'string:unit',
      'dict:string:byte:a,1,b,2',
      'array:int64:1,2',
      'variant:boolean:true',
    )
    await expect.poll(() => heard.length).toBe(2)
    expect(heard.map((signal) => [signal.member, signal.signature, bodyOf(signal)])).toEqual([
      ['JobRemoved', 'uoss', [6, '/job/6', 'unit', 'done']],
      [
        'Dict',
        'dnsa{sy}axv',
        [
          1.5,
          -1,
          'unit',
          [
            ['a', 1],
            ['b', 2],
          ],
          [1n, 2n],
          { signature: 'b', value: true },
        ],
      ],
    ])
    stop()
    send('t.s.JobRemoved', 'uint32:7', 'objpath:/job/7', 'string:unit', 'string:done')
    await call({ ...BUS_OBJECT, member: 'GetId' })
    expect(heard).toHaveLength(2)
  })

  it('says that it was closed to who calls on', async () => {
    const opened = await connection()
    opened.close()
    await expect(opened.call({ ...BUS_OBJECT, member: 'GetId' })).rejects.toMatchObject({
      code: 'SYSTEMD',
      message: 'D-Bus: the connection was closed',
    })
  })
})

describe('openSystemd', () => {
  it('says in the words of the bus that systemd is not on it', async () => {
    process.env['DBUS_SYSTEM_BUS_ADDRESS'] = address
    onTestFinished(() => {
      delete process.env['DBUS_SYSTEM_BUS_ADDRESS']
    })
    await expect(openSystemd({ booted: directory })).rejects.toMatchObject({
      code: 'SYSTEMD',
      subject: 'org.freedesktop.DBus.Error.ServiceUnknown',
      message: expect.stringMatching(/^systemd: .*org\.freedesktop\.systemd1/) as string,
    })
  })
})
