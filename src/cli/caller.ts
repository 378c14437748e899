import { readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../model/errors.ts'

/** docker's rule for `-it`; and a terminal that neither end of is one would only garble what is piped. */
export async function requireTerminal(interactive: boolean): Promise<void> {
  const { isTerminalFd } = await import('./output/terminal.ts')
  if (await isTerminalFd(0)) return
  if (!interactive && (await isTerminalFd(1))) return
  throw new TscrunError('USAGE', `--tty: standard ${interactive ? 'input' : 'output'} is not a terminal`, {
    subject: '--tty',
    hint: interactive ? 'leave -t out to pipe input, or run it in a terminal' : 'leave -t out to pipe output',
  })
}

/** A file that the caller has named, e.g. by --env-file. Throws USAGE. */
export function readUserFile(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined || !(error instanceof Error)) throw error
    throw new TscrunError('USAGE', `open ${path}: ${errno}`, {
      syscall: 'open',
      errno,
      subject: path,
      hint: `it is a file that a flag names${path.startsWith('/') ? '' : ', looked for in the current directory'}`,
      cause: error,
    })
  }
}

/** Where the caller is; '' where that directory is gone. */
export function currentDirectory(): string {
  try {
    return process.cwd()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return ''
    throw error
  }
}
