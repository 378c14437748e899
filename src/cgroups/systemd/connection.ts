import { connect, type Socket } from 'node:net'
import { TscrunError } from '../../model/errors.ts'
import { malformed } from './error.ts'
import { bodyOf, decodeMessage, encodeMessage, type Message, messageSize, type Received } from './message.ts'
import type { DbusValue } from './signature.ts'

/** Bytes of one line of the authentication. */
const MAX_LINE = 16_384

export interface Call {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly values?: readonly DbusValue[]
}

export interface Reply {
  /** The unique name of who answered; undefined on a connection without a bus. */
  readonly sender: string | undefined
  readonly values: readonly DbusValue[]
}

/** An authenticated D-Bus connection over a unix socket; it ends with `close`, its signal, or its peer. */
export interface Connection extends Disposable {
  /** This side's name on the bus; undefined on a connection without a bus. */
  readonly name: string | undefined
  /** Throws SYSTEMD with `errorName` as its subject where the peer answers with an error. */
  readonly call: (call: Call) => Promise<Reply>
  /** Hands on every signal, and at last why the connection ended, until the answer is called. */
  readonly listen: (listener: Listener) => () => void
  readonly close: () => void
}

type Listener = (event: Received | Error) => void

export interface ConnectOptions {
  /** A message bus, which wants Hello; otherwise the peer itself. */
  readonly bus: boolean
  /** Ends the connection, and every call that waits, with its reason. */
  readonly signal: AbortSignal
}

/**
 * Connects to one unix socket and authenticates as the effective user (EXTERNAL, D-Bus Specification, Authentication
 * Protocol). Rejects with Node's own error where nobody listens, with SYSTEMD where the peer refuses or misbehaves.
 */
export async function openConnection(socketPath: string, { bus, signal }: ConnectOptions): Promise<Connection> {
  signal.throwIfAborted()
  const socket = await connected(socketPath, signal)
  const state: State = { socket, pending: new Map(), listeners: new Set(), serial: 0, chunks: [], wanted: 1 }
  const end = (reason: Error): void => {
    if (state.ended) return
    state.ended = reason
    socket.destroy()
    state.onLine?.(reason)
    for (const { reject } of state.pending.values()) reject(reason)
    state.pending.clear()
    for (const listener of state.listeners) listener(reason)
  }
  const aborted = (): void => end(reasonOf(signal))
  signal.addEventListener('abort', aborted, { once: true })
  socket.on('error', end)
  socket.on('close', () => {
    signal.removeEventListener('abort', aborted)
    end(new TscrunError('SYSTEMD', 'D-Bus: the connection was closed'))
  })
  socket.on('data', (bytes) => {
    try {
      receive(state, bytes)
    } catch (error) {
      end(error as Error)
    }
  })
  const close = (): void => end(new TscrunError('SYSTEMD', 'D-Bus: the connection was closed'))
  try {
    await authenticate(state)
    const name = bus ? await hello(state) : undefined
    const listen = (listener: Listener): (() => void) => {
      state.listeners.add(listener)
      return () => state.listeners.delete(listener)
    }
    return { name, call: (call) => send(state, call), listen, close, [Symbol.dispose]: close }
  } catch (error) {
    close()
    throw error
  }
}

interface State {
  readonly socket: Socket
  readonly pending: Map<number, { resolve: (reply: Reply) => void; reject: (reason: Error) => void }>
  readonly listeners: Set<Listener>
  serial: number
  /** What came and is not used yet, and how many bytes of it make looking worth while. */
  chunks: Buffer[]
  wanted: number
  /** While authenticating: who waits for a line. */
  onLine?: ((line: string | Error) => void) | undefined
  /** From BEGIN on the bytes are messages. */
  begun?: boolean
  /** Why the connection ended. */
  ended?: Error
}

function connected(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    const aborted = (): void => {
      socket.destroy(reasonOf(signal))
    }
    signal.addEventListener('abort', aborted, { once: true })
    socket.once('error', (error) => {
      signal.removeEventListener('abort', aborted)
      reject(error)
    })
    socket.once('connect', () => {
      signal.removeEventListener('abort', aborted)
      socket.removeAllListeners('error')
      resolve(socket)
    })
  })
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason))
}

// ---- authentication ----------------------------------------------------------------------------------------------

async function authenticate(state: State): Promise<void> {
  const uid = String(process.geteuid?.() ?? 0)
  // The zero byte is where some systems carry the credentials; the kernel tells ours by SO_PEERCRED. BEGIN goes with
  // AUTH, as sd-bus has it: systemd's own socket leaves a message lying that it reads together with BEGIN (252).
  state.socket.write(`\0AUTH EXTERNAL ${Buffer.from(uid).toString('hex')}\r\nBEGIN\r\n`)
  const answer = await nextLine(state)
  if (/^OK [0-9a-f]+$/.test(answer)) {
    state.begun = true
    return
  }
  const refused = answer.startsWith('REJECTED')
  throw malformed(refused ? `the bus refuses user ${uid}` : `${JSON.stringify(answer)} as the answer to AUTH`)
}

function nextLine(state: State): Promise<string> {
  return new Promise((resolve, reject) => {
    state.onLine = (line) => {
      state.onLine = undefined
      if (typeof line === 'string') resolve(line)
      else reject(line)
    }
    if (state.ended) state.onLine(state.ended)
    else takeLine(state)
  })
}

function takeLine(state: State): void {
  const input = Buffer.concat(state.chunks)
  const end = input.indexOf('\r\n')
  if (end > MAX_LINE || (end < 0 && input.length > MAX_LINE)) throw malformed('an endless line in AUTH')
  if (end < 0 || !state.onLine) return
  state.chunks = [input.subarray(end + 2)]
  state.onLine(input.toString('latin1', 0, end))
}

async function hello(state: State): Promise<string> {
  const { values } = await send(state, {
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'Hello',
  })
  if (typeof values[0] !== 'string') throw malformed('Hello without a name')
  return values[0]
}

// ---- messages ----------------------------------------------------------------------------------------------------

function send(state: State, { values = [], ...call }: Call): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (state.ended) throw state.ended
    state.serial = (state.serial % 0xffff_ffff) + 1
    const bytes = encodeMessage({ type: 'call', serial: state.serial, ...call }, values)
    state.pending.set(state.serial, { resolve, reject })
    state.socket.write(bytes)
  })
}

function receive(state: State, bytes: Buffer): void {
  state.chunks.push(bytes)
  if (state.begun !== true) return takeLine(state)
  if (state.chunks.reduce((sum, { length }) => sum + length, 0) < state.wanted) return
  let input = Buffer.concat(state.chunks)
  let size = messageSize(input)
  while (size !== undefined && size <= input.length) {
    const message = decodeMessage(input.subarray(0, size))
    input = input.subarray(size)
    if (message) dispatch(state, message)
    size = messageSize(input)
  }
  state.chunks = [input]
  state.wanted = size ?? 1
}

function dispatch(state: State, message: Received): void {
  switch (message.type) {
    case 'signal':
      for (const listener of state.listeners) listener(message)
      return
    case 'call':
      if (message.noReply !== true) refuse(state, message)
      return
    case 'return':
    case 'error': {
      const waiting = state.pending.get(message.replySerial ?? 0)
      // A reply to nobody: the specification lets it fall.
      if (!waiting) return
      // Read before it counts as answered: what is malformed ends the connection, and so this call.
      const answer = message.type === 'error' ? answeredError(message) : bodyOf(message)
      state.pending.delete(message.replySerial ?? 0)
      if (answer instanceof TscrunError) waiting.reject(answer)
      else waiting.resolve({ sender: message.sender, values: answer })
      return
    }
    default:
      message.type satisfies never
  }
}

/** Nothing is offered here, and a caller without an answer would wait. */
function refuse(state: State, { serial, sender }: Received): void {
  state.serial = (state.serial % 0xffff_ffff) + 1
  const answer: Message = {
    type: 'error',
    serial: state.serial,
    noReply: true,
    replySerial: serial,
    errorName: 'org.freedesktop.DBus.Error.UnknownMethod',
    ...(sender === undefined ? {} : { destination: sender }),
  }
  state.socket.write(encodeMessage(answer))
}

/** The name is the error's subject, so that callers can expect one. */
function answeredError(message: Received): TscrunError {
  const name = message.errorName ?? ''
  const [text] = message.signature?.startsWith('s') === true ? bodyOf(message) : []
  const words = typeof text === 'string' && text !== '' ? text.replaceAll(/\s+/g, ' ').trim() : name
  return new TscrunError('SYSTEMD', words, { subject: name })
}
