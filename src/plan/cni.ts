import { type CniAttachment, cniResultFile } from '../model/cni.ts'
import type { Step } from '../model/step.ts'
import { callsOf, cniEnvironment, type CniCommand } from '../network/cni/call.ts'

/** Plugins ask DHCP servers and cloud APIs. */
const TIMEOUT_MS = 120_000

export interface CniSteps {
  /** Stage, when the child is in its network namespace, which stays open until the teardown. */
  readonly add: readonly Step[]
  /** Teardown. */
  readonly delete: readonly Step[]
}

/** The plugins of CNI networks, each told the result of the one before it. */
export function cniSteps(id: string, attachments: readonly CniAttachment[] = []): CniSteps {
  if (attachments.length === 0) return { add: [], delete: [] }
  const dir = 'fd:directory' as const
  return {
    add: [
      { op: 'open_proc', fd: 'fd:cni-netns', file: 'ns/net' },
      ...attachments.flatMap((attachment, index): Step[] => [
        { op: 'keep_result', dir, name: cniResultFile(index), about: `begin with network ${attachment.network}` },
        ...pluginSteps('ADD', id, attachment),
        { op: 'keep_result', dir, name: cniResultFile(index), about: `keep what network ${attachment.network} is` },
      ]),
    ],
    delete: attachments
      .flatMap((attachment, index): Step[][] => [
        [
          { op: 'find_result', dir, name: cniResultFile(index), about: `find what network ${attachment.network} is` },
          ...pluginSteps('DEL', id, attachment),
        ],
      ])
      .toReversed()
      .flat(),
  }
}

function pluginSteps(command: CniCommand, id: string, attachment: CniAttachment): Step[] {
  const env = Object.entries(cniEnvironment(command, id, attachment)).map(([key, value]) => `${key}=${value}`)
  return callsOf(command, attachment).map(({ type, program, config }) => ({
    op: 'plugin',
    path: program,
    args: [type],
    env,
    config: config.slice(0, -1),
    netns: 'fd:cni-netns',
    timeoutMs: TIMEOUT_MS,
    about: `CNI network ${attachment.network}: ${type} ${command}`,
  }))
}
