import type { HostArch } from './arches.ts'
import { compileSeccomp } from './compile.ts'
import { PRECOMPILED } from './default-bytes.ts'
import { type DefaultProfileOptions, defaultProfile, relevantCapabilities } from './default-profile.ts'

const made = new Map<string, Buffer>()

/**
 * The default profile's program (struct sock_filter[]) for a container with these capabilities; to be loaded with
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW. The usual sets are read from bytes made beforehand, since compiling costs a fresh
 * process 3 ms; any other set is compiled once.
 */
export function defaultFilter(
  arch: HostArch,
  capabilities: readonly string[],
  options: DefaultProfileOptions = {},
): Buffer {
  const key = filterKey(arch, capabilities, options)
  let program = made.get(key)
  if (program === undefined) {
    const bytes = PRECOMPILED[key]
    program =
      bytes === undefined
        ? compileSeccomp(defaultProfile(capabilities, arch, options), arch).program
        : Buffer.from(bytes, 'base64')
    made.set(key, program)
  }
  return program
}

/** What tells default filters apart, e.g. `x64:CAP_SYS_CHROOT`. */
export function filterKey(arch: HostArch, capabilities: readonly string[], options: DefaultProfileOptions): string {
  const parts = relevantCapabilities(capabilities)
  if (options.legacySockets) parts.push('legacySockets')
  return `${arch}:${parts.join(' ')}`
}
