import type { HostArch } from './arches.ts'
import { PRECOMPILED } from './default-bytes.ts'
import type { DefaultProfileOptions } from './default-profile.ts'

const made = new Map<string, Buffer>()

/**
 * The capabilities that change the default profile, in the order of its table (a test compares them): named here, so
 * that a filter made beforehand is found without loading the profile.
 */
export const RELEVANT_CAPABILITIES = [
  'CAP_BPF',
  'CAP_DAC_READ_SEARCH',
  'CAP_PERFMON',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_CHROOT',
  'CAP_SYS_MODULE',
  'CAP_SYS_NICE',
  'CAP_SYS_PACCT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_SYSLOG',
] as const

/**
 * The default profile's program (struct sock_filter[]) for a container with these capabilities; to be loaded with
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW. The usual sets are read from bytes made beforehand, since loading and running the
 * compiler costs a fresh process several milliseconds; any other set is compiled once.
 */
export async function defaultFilter(
  arch: HostArch,
  capabilities: readonly string[],
  options: DefaultProfileOptions = {},
): Promise<Buffer> {
  const key = filterKey(arch, capabilities, options)
  let program = made.get(key)
  if (program === undefined) {
    const bytes = PRECOMPILED[key]
    program = bytes === undefined ? await compiled(arch, capabilities, options) : Buffer.from(bytes, 'base64')
    made.set(key, program)
  }
  return program
}

async function compiled(
  arch: HostArch,
  capabilities: readonly string[],
  options: DefaultProfileOptions,
): Promise<Buffer> {
  const { compileDefault } = await import('./custom.ts')
  return compileDefault(arch, capabilities, options)
}

/** What tells default filters apart, e.g. `x64:CAP_SYS_CHROOT`. */
export function filterKey(arch: HostArch, capabilities: readonly string[], options: DefaultProfileOptions): string {
  const parts: string[] = RELEVANT_CAPABILITIES.filter((capability) => capabilities.includes(capability))
  if (options.legacySockets) parts.push('legacySockets')
  return `${arch}:${parts.join(' ')}`
}
