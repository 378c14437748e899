import { readSync } from 'node:fs'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { printError } from './output/print.ts'

/**
 * Asks on the terminal before something is removed for good; true for `y` or `yes`. Off a terminal nobody can answer: then
 * throws USAGE about `--force`, where docker and podman would take the empty answer for no, and end with 0.
 */
export async function confirmed(warning: string, command: string): Promise<boolean> {
  const { isTerminalFd } = await import('./output/terminal.ts')
  if (!(await isTerminalFd(0))) {
    throw new TscrunError('USAGE', `${command}: standard input is no terminal to ask on`, {
      subject: command,
      hint: 'add --force to remove without a question',
    })
  }
  printError(`${warning}\nAre you sure you want to continue? [y/N] `)
  return /^y(?:es)?$/i.test(readLine().trim())
}

function readLine(): string {
  const bytes: number[] = []
  const byte = Buffer.alloc(1)
  while (bytes.length < 100 && readByte(byte) && byte[0] !== 0x0a) bytes.push(byte[0] ?? 0)
  return Buffer.from(bytes).toString()
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
