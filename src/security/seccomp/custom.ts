import type { HostArch } from './arches.ts'
import { compileSeccomp, type CompiledFilter } from './compile.ts'
import { type DefaultProfileOptions, defaultProfile } from './default-profile.ts'
import { parseDockerProfile } from './docker-profile.ts'

/** The default profile compiled for an unusual set of capabilities. Loaded only where it is needed. */
export function compileDefault(
  arch: HostArch,
  capabilities: readonly string[],
  options: DefaultProfileOptions,
): Buffer {
  return compileSeccomp(defaultProfile(capabilities, arch, options), arch).program
}

/** A profile in docker's JSON format, compiled. Throws INVALID_CONFIG. */
export function compileDockerProfile(json: unknown, capabilities: readonly string[], arch: HostArch): CompiledFilter {
  return compileSeccomp(parseDockerProfile(json, capabilities, arch), arch)
}
