import { readSync } from 'node:fs'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { printError } from './output/print.ts'

/**
 * Asks before something is removed for good; true for `y` or `yes`, which may also come from a pipe. Where nobody can answer
 * throws USAGE about `--force`: docker and podman would take that for no, and end with 0.
 */
export async function confirmed(warning: string, command: string): Promise<boolean> {
  const { isTerminalFd } = await import('./output/terminal.ts')
  const answer = (await isTerminalFd(0)) ? ask(warning) : readLine()
  if (answer === undefined) {
    throw new TscrunError('USAGE', `${command}: standard input is no terminal to ask on`, {
      subject: command,
      hint: 'add --force to remove without a question',
    })
  }
  return /^y(?:es)?$/i.test(answer.trim())
}

/** The end of the input, Ctrl-D, is no. */
function ask(warning: string): string {
  printError(`${warning}\nAre you sure you want to continue? [y/N] `)
  return readLine() ?? ''
}

/** Undefined at the end of the input. */
function readLine(): string | undefined {
  const bytes: number[] = []
  const byte = Buffer.alloc(1)
  while (bytes.length < 100 && readByte(byte) && byte[0] !== 0x0a) bytes.push(byte[0] ?? 0)
  return bytes.length === 0 && byte[0] !== 0x0a ? undefined : Buffer.from(bytes).toString()
}

function readByte(byte: Buffer): boolean {
  for (;;) {
    try {
      return readSync(0, byte) === 1
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'EOF' || errno === 'EIO') return false
      if (errno !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
}
