import type { Flag } from '../flags/flag.ts'
import type { FlagValues } from '../command.ts'

/** A verb of the OCI runtime: what callers type, and the thin function behind it. */
export interface RuntimeCommand {
  readonly name: string
  /** After the name in the usage line. */
  readonly usage: string
  readonly description: string
  readonly flags: readonly Flag[]
  readonly operands: { readonly min: number; readonly max: number }
  /** Flags end at the first operand: what follows is another program's. */
  readonly passThrough?: true
  /** Exit code of a failure, where it is not 1. */
  readonly failure?: number
  /** Resolves to the exit code. */
  run(invocation: RuntimeInvocation): Promise<number>
}

export interface RuntimeInvocation {
  readonly flags: FlagValues
  readonly operands: readonly string[]
  readonly globals: RuntimeGlobals
}

/** The flags before the verb. */
export interface RuntimeGlobals {
  /** Directory of the containers. */
  readonly root: string
  /** Who makes the cgroups. */
  readonly cgroups: 'cgroupfs' | 'systemd' | 'disabled'
  /** Where messages go besides standard error. */
  readonly log?: string
  readonly logFormat: 'text' | 'json'
  readonly debug: boolean
}
