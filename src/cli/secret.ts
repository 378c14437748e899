import { readSync } from 'node:fs'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { printError } from './output/print.ts'
import { isTerminalFd } from './output/terminal.ts'
import { Interruption } from './signals.ts'

const MAX_INPUT = 64 << 10

/** Asks on the terminal for what must not be seen there. Throws USAGE with the hint where standard input is none. */
export async function askSecret(question: string, hint = LOGIN_HINT): Promise<string> {
  await requireTerminal(hint)
  const { ReadStream } = await import('node:tty')
  const input = new ReadStream(0)
  printError(question)
  input.setRawMode(true)
  try {
    // Destroyed by the loop's end, it could not leave raw mode any more.
    return await typed(input.iterator({ destroyOnReturn: false }))
  } finally {
    input.setRawMode(false)
    input.destroy()
    printError('\n')
  }
}

/** Characters up to the end of the line, with the keys that a terminal in raw mode leaves to the program. */
async function typed(input: AsyncIterable<Buffer>): Promise<string> {
  const bytes: number[] = []
  for await (const chunk of input) {
    for (const byte of chunk) {
      if (byte === 0x03) throw new Interruption('SIGINT', undefined)
      if (byte === 0x0a || byte === 0x0d || byte === 0x04) return Buffer.from(bytes).toString()
      if (byte === 0x15) bytes.length = 0
      else if (byte !== 0x7f && byte !== 0x08) bytes.push(byte)
      // All bytes of a character go.
      else while (((bytes.pop() ?? 0) & 0xc0) === 0x80);
    }
  }
  return Buffer.from(bytes).toString()
}

/** Asks on the terminal for a line. Throws USAGE where standard input is none. */
export async function askLine(question: string): Promise<string> {
  await requireTerminal(LOGIN_HINT)
  printError(question)
  return readInput((bytes) => bytes.at(-1) === 0x0a).replace(/\r?\n$/, '')
}

/** All of standard input, without the newline at its end. */
export function readSecretFromInput(): string {
  return readInput(() => false).replace(/\r?\n$/, '')
}

const LOGIN_HINT = 'use --username NAME --password-stdin'

async function requireTerminal(hint: string): Promise<void> {
  if (await isTerminalFd(0)) return
  throw new TscrunError('USAGE', 'ask for a login: standard input is no terminal', { hint })
}

function readInput(isEnd: (bytes: readonly number[]) => boolean): string {
  const bytes: number[] = []
  const part = Buffer.alloc(1)
  while (!isEnd(bytes) && readByte(part)) {
    bytes.push(part[0] ?? 0)
    if (bytes.length > MAX_INPUT) {
      throw new TscrunError('USAGE', `read standard input: more than ${MAX_INPUT} bytes are no password`)
    }
  }
  return Buffer.from(bytes).toString()
}

function readByte(part: Buffer): boolean {
  for (;;) {
    try {
      return readSync(0, part) === 1
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'EOF' || errno === 'EIO') return false
      if (errno !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
}
