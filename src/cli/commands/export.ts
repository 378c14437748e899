import type { Command } from '../command.ts'
import { EXPORT_FLAGS } from '../flags/files.ts'
import { toArchive } from '../output/archive.ts'
import { withSignals } from '../signals.ts'

export const exportCommand: Command = {
  name: 'export',
  usage: 'CONTAINER',
  description: "Write a container's files as a tar archive, owners as the container has them",
  flags: EXPORT_FLAGS,
  operands: { min: 1, max: 1, noun: 'container' },
  async run({ flags, operands: [container = ''], engine }) {
    const files = await (await engine()).files()
    await withSignals(({ aborted }) =>
      toArchive('export', flags.text('output'), (sink) => files.export(container, sink, aborted)),
    )
    return 0
  },
}
