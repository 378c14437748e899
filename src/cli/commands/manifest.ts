import type { Command } from '../command.ts'
import { MANIFEST_FLAGS } from '../flags/registry.ts'
import { printBytes } from '../output/print.ts'
import { parseAccess } from '../parse/registry.ts'
import { withSignals } from '../signals.ts'

export const manifestInspectCommand: Command = {
  name: 'manifest inspect',
  usage: 'IMAGE',
  description: 'Show the manifest or the index that a registry has for a name, byte for byte',
  flags: MANIFEST_FLAGS,
  operands: { min: 1, max: 1, noun: 'image' },
  async run({ flags, operands, engine }) {
    const access = await parseAccess(flags)
    const name = (operands[0] ?? '').replace(/^docker:\/\//, '')
    const registry = await (await engine()).registry()
    return withSignals(async ({ aborted }) => {
      const { bytes } = await registry.manifest(name, { ...access, signal: aborted })
      printBytes(1, bytes)
      // What is not ended by a newline would stand before the prompt.
      if (bytes.at(-1) !== 0x0a) printBytes(1, Buffer.from('\n'))
      return 0
    })
  },
}
