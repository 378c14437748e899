import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'

/** Where distributions have it; the PATH of root's services often lacks the last ones. */
const USUAL = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/bin']
const TIMEOUT_MS = 30_000

export function hasNft(): boolean {
  return lookForNft() !== undefined
}

/** Absolute path of nft(8). Throws HOST_UNSUPPORTED where it is not installed. */
export function findNft(): string {
  const path = lookForNft()
  if (path !== undefined) return path
  throw new TscrunError('HOST_UNSUPPORTED', 'network: the program nft is not installed', {
    subject: 'nft',
    hint: 'install the package nftables, or use --network none or host',
  })
}

function lookForNft(): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(':').filter((path) => path.startsWith('/')), ...USUAL]
  for (const directory of directories) {
    const path = join(directory, 'nft')
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error
    }
  }
  return undefined
}

/** Has nft(8) carry out a transaction: all of it, or nothing. Throws KERNEL_REFUSED with what it says. */
export async function applyRules(rules: string): Promise<void> {
  const program = findNft()
  const { execa } = await import('execa')
  const result = await execa(program, ['-f', '-'], {
    input: rules,
    timeout: TIMEOUT_MS,
    reject: false,
    env: { LC_ALL: 'C' },
  })
  if (result.exitCode === 0) return
  const said = result.stderr.split('\n').find((line) => line.includes('Error')) ?? result.shortMessage ?? ''
  throw new TscrunError('KERNEL_REFUSED', `nft -f -: ${said.replace(/^.*?Error:\s*/, '').trim()}`, {
    subject: 'nft',
    hint: 'are you root, with nf_tables in the kernel? `tscrun doctor` tells',
  })
}
