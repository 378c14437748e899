import { readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { LaunchSpec } from '../../model/launch.ts'
import type { RunOptions } from '../../model/run-options.ts'
import { defaultFilter } from '../../security/seccomp/default-filter.ts'

/** seccomp(2): the filter does not turn speculation mitigations on, which cost every system call. */
const FLAG_SPEC_ALLOW = 4

/** The filter of a container: the default one, one from a file in docker's format, or none. */
export async function seccompOf(options: RunOptions, capabilities: readonly string[]): Promise<LaunchSpec['seccomp']> {
  const choice = options.security?.seccomp
  if (choice === 'unconfined' || (options.privileged === true && choice === undefined)) return undefined
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
  if (choice === undefined) {
    // A 32-bit x86 image knows sockets by socketcall(2) only.
    const legacySockets = options.platform === 'linux/386'
    return { program: await defaultFilter(arch, capabilities, { legacySockets }), flags: FLAG_SPEC_ALLOW }
  }
  const { compileDockerProfile } = await import('../../security/seccomp/custom.ts')
  const profile = readProfile(choice)
  try {
    const { program, flags } = compileDockerProfile(profile, capabilities, arch)
    return { program, flags, custom: true }
  } catch (error) {
    if (!(error instanceof TscrunError) || error.code !== 'INVALID_CONFIG') throw error
    throw unusable(choice, error.message, error)
  }
}

function readProfile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw unusable(path, errnoOf(error) ?? (error as Error).message, error)
  }
}

function unusable(path: string, reason: string, cause: unknown): TscrunError {
  return new TscrunError('USAGE', `--security-opt seccomp=${path}: ${reason}`, {
    subject: path,
    hint: "give a profile in docker's JSON format, or seccomp=unconfined",
    cause,
  })
}
