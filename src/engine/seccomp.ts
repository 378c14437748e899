import { readFileSync } from 'node:fs'
import type { OciConfig } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { LaunchSpec } from '../model/launch.ts'
import type { RunOptions } from '../model/run-options.ts'
import { defaultFilter } from '../security/seccomp/default-filter.ts'
import { compileSeccomp } from '../security/seccomp/compile.ts'
import { parseDockerProfile } from '../security/seccomp/docker-profile.ts'

/** seccomp(2): the filter does not turn speculation mitigations on, which cost every system call. */
const FLAG_SPEC_ALLOW = 4

/** The filter of a container: the default one, one from a file in docker's format, or none. */
export function seccompOf(options: RunOptions, config: OciConfig): LaunchSpec['seccomp'] {
  const choice = options.security?.seccomp
  if (choice === 'unconfined' || (options.privileged === true && choice === undefined)) return undefined
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
  const capabilities = config.process?.capabilities?.bounding ?? []
  if (choice === undefined) return { program: defaultFilter(arch, capabilities), flags: FLAG_SPEC_ALLOW }
  const { program, flags } = compileSeccomp(parseDockerProfile(readProfile(choice), capabilities, arch), arch)
  return { program, flags }
}

function readProfile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const reason = errnoOf(error) ?? (error as Error).message
    throw new TscrunError('USAGE', `--security-opt seccomp=${path}: ${reason}`, {
      subject: path,
      hint: 'give a profile in docker\'s JSON format, or seccomp=unconfined',
      cause: error,
    })
  }
}
