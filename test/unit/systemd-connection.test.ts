import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Connection, openConnection } from '../../src/cgroups/systemd/connection.ts'
import { decodeMessage, encodeMessage, messageSize, type Received } from '../../src/cgroups/systemd/message.ts'

let directory = ''

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-peer-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true })
})

/** A peer that answers the authentication with `greeting` and then does as `act` says with each message. */
async function peer(
  greeting: string | Buffer,
  act: (socket: Socket, message: Received) => void = () => undefined,
): Promise<string> {
  const path = join(directory, 'socket')
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    let input = Buffer.alloc(0)
    let begun = false
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes) => {
      input = Buffer.concat([input, bytes])
      const begin = input.indexOf('BEGIN\r\n')
      if (!begun && begin >= 0) {
        begun = true
        expect(input.toString('latin1', 0, begin)).toMatch(/^\0AUTH EXTERNAL [0-9a-f]+\r\n$/)
        input = input.subarray(begin + 7)
        socket.write(greeting)
      }
      for (let size = begun ? messageSize(input) : undefined; size !== undefined && size <= input.length; ) {
        const message = decodeMessage(input.subarray(0, size))
        input = input.subarray(size)
        if (message) act(socket, message)
        size = messageSize(input)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return path
}

async function connected(path: string, signal = new AbortController().signal): Promise<Connection> {
  const connection = await openConnection(path, { bus: false, signal })
  onTestFinished(() => connection.close())
  return connection
}

const OK = `OK ${'0'.repeat(32)}\r\n`
const CALL = { destination: 'a.b', path: '/', interface: 'a.b', member: 'Do' } as const
const answer = (message: Received, serial = 1): Buffer =>
  encodeMessage({ type: 'return', serial, replySerial: message.serial, signature: 's' }, ['yes'])

describe('a peer that', () => {
  it.each([
    ['refuses', 'REJECTED EXTERNAL\r\n', /the bus refuses user \d+/],
    ['says something else', 'HELLO\r\n', /"HELLO" as the answer to AUTH/],
    ['never ends its line', 'A'.repeat(20_000), /endless line/],
    ['ends a line that is too long', `${'A'.repeat(20_000)}\r\n`, /endless line/],
  ])('%s at the beginning is an error', async (_, greeting, message) => {
    await expect(connected(await peer(greeting))).rejects.toMatchObject({
      code: 'SYSTEMD',
      message: expect.stringMatching(message) as string,
    })
  })

  it('closes at the beginning is an error', async () => {
    const path = join(directory, 'socket')
    const server = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(path, resolve))
    await expect(connected(path)).rejects.toThrow(/ECONNRESET|EPIPE|closed/)
    await new Promise((resolve) => server.close(resolve))
  })

  it('is not there is the error of the kernel', async () => {
    await expect(connected(join(directory, 'absent'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('answers byte by byte is understood', async () => {
    const path = await peer(OK, (socket, message) => {
      socket.setNoDelay(true)
      for (const byte of answer(message)) socket.write(Buffer.of(byte))
    })
    const { call } = await connected(path)
    expect((await call(CALL)).values).toEqual(['yes'])
  })

  it('answers together with its greeting, in another order, and twice is understood', async () => {
    const waiting: Received[] = []
    const signal = encodeMessage({ type: 'signal', serial: 9, path: '/', interface: 'a.b', member: 'S' })
    const path = await peer(Buffer.concat([Buffer.from(OK), signal]), (socket, message) => {
      waiting.push(message)
      if (waiting.length < 3) return
      const answers = waiting
        .toReversed()
        .flatMap((one) => [
          encodeMessage({ type: 'return', serial: 5, replySerial: one.serial, signature: 'u' }, [one.serial]),
          answer(one),
        ])
      socket.write(Buffer.concat(answers))
    })
    const { call } = await connected(path)
    const answers = await Promise.all([call(CALL), call(CALL), call(CALL)])
    expect(answers.map(({ values }) => values)).toEqual([[1], [2], [3]])
  })

  it('calls us is told that there is nothing', async () => {
    const told: Received[] = []
    const path = await peer(OK, (socket, message) => {
      if (message.type === 'call') {
        const asks = encodeMessage({ type: 'call', serial: 77, path: '/', member: 'X', sender: 'a.b' })
        const tells = encodeMessage({ type: 'call', serial: 78, path: '/', member: 'X', sender: 'a.b', noReply: true })
        socket.write(Buffer.concat([asks, tells, answer(message)]))
      } else told.push(message)
    })
    const { call } = await connected(path)
    await call(CALL)
    await expect
      .poll(() => told)
      .toMatchObject([
        { type: 'error', replySerial: 77, destination: 'a.b', errorName: 'org.freedesktop.DBus.Error.UnknownMethod' },
      ])
  })

  it.each<[string, (message: Received) => Buffer]>([
    ['bytes that are no message', () => Buffer.alloc(32, 0xff)],
    ['a message that is too large', () => Buffer.from('6c0200010000000f010000000800000f', 'hex')],
    [
      'a reply whose body does not fit its signature',
      (message) => {
        const bytes = answer(message)
        bytes.writeUInt32LE(99, bytes.length - 8)
        return bytes
      },
    ],
  ])('sends %s ends the connection and every call', async (_, bytes) => {
    const path = await peer(OK, (socket, message) => {
      if (message.serial === 2) socket.write(bytes(message))
    })
    const { call } = await connected(path)
    const answers = await Promise.allSettled([call(CALL), call(CALL)])
    expect(answers).toMatchObject([
      { status: 'rejected', reason: { code: 'SYSTEMD' } },
      { status: 'rejected', reason: { code: 'SYSTEMD' } },
    ])
    await expect(call(CALL)).rejects.toMatchObject({ code: 'SYSTEMD' })
  })

  it('says nothing more is left when the signal is aborted, and who listens is told', async () => {
    const controller = new AbortController()
    const { call, listen } = await connected(await peer(OK), controller.signal)
    const heard: unknown[] = []
    listen((event) => heard.push(event))
    const answered = call(CALL)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(answered).rejects.toBe(reason)
    expect(heard).toEqual([reason])
    await expect(openConnection(join(directory, 'socket'), { bus: false, signal: controller.signal })).rejects.toBe(
      reason,
    )
  })

  it('says nothing at all is left when the signal is aborted', async () => {
    const controller = new AbortController()
    const opening = connected(await peer(''), controller.signal)
    setTimeout(() => controller.abort(new Error('enough')), 50)
    await expect(opening).rejects.toThrow('enough')
  })

  it('hangs up ends the call that waits', async () => {
    const { call } = await connected(await peer(OK, (socket) => socket.destroy()))
    await expect(call(CALL)).rejects.toThrow(/closed|ECONNRESET/)
  })
})
