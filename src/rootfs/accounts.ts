import { readAllInLayers } from './lookup.ts'

/** passwd and group of an image may be this large (SECURITY: limits on untrusted input). */
const MAX_ACCOUNT_BYTES = 10 * 2 ** 20

/**
 * /etc/passwd and /etc/group as a container has them (passwd(5), group(5)), byte by byte; empty where there is none.
 *
 * @param layers directories, bottom to top
 */
export function readAccounts(layers: readonly string[]): readonly [passwd: string, group: string] {
  const [passwd, group] = readAllInLayers(layers, ['/etc/passwd', '/etc/group'], MAX_ACCOUNT_BYTES)
  return [passwd?.toString('latin1') ?? '', group?.toString('latin1') ?? '']
}
