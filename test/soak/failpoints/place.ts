import { expect } from 'vitest'
import type { HostNetwork } from '../../kernel/fixtures/host-network.ts'
import type { Machine } from '../../kernel/fixtures/machine.ts'

/** Where commands are killed. */
export interface Place {
  readonly machine: Machine
  readonly net: HostNetwork
  /** failpoint.c, compiled. */
  readonly program: string
}

/** A command that has to succeed without a word; what it prints. */
export async function must({ net }: Place, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await net.tscrun(args, { timeout: 300_000, env: { TSCRUN_NETWORK: 'none' } })
  expect({ exitCode, stderr }, args.join(' ')).toEqual({ exitCode: 0, stderr: '' })
  return stdout
}
