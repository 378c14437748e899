import { TscrunError } from '../../model/errors.ts'
import { SAVE_FORMATS, type SaveFormat } from '../../model/save-format.ts'
import type { Command } from '../command.ts'
import { badFlag } from '../errors.ts'
import { SAVE_FLAGS } from '../flags/archives.ts'
import { toArchive } from '../output/archive.ts'
import { withSignals } from '../signals.ts'

export const saveCommand: Command = {
  name: 'save',
  usage: 'IMAGE [IMAGE...]',
  description: 'Write images to an archive on standard output, to a file or to a directory',
  flags: SAVE_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, engine }) {
    const format = formatOf(flags.text('format'))
    const output = flags.text('output') ?? ''
    const archives = await (await engine()).archives()
    await withSignals(({ aborted: signal }) => {
      if (format === 'docker-archive' || format === 'oci-archive') {
        return toArchive('save', output, (take) => archives.save(operands, { format, take, signal }))
      }
      if (output !== '') return archives.save(operands, { format, directory: output, signal })
      throw new TscrunError('USAGE', `save --format ${format}: it needs a directory`, { hint: 'give one with -o' })
    })
    return 0
  },
}

function formatOf(text: string | undefined): SaveFormat {
  const format = SAVE_FORMATS.find((known) => known === (text ?? 'docker-archive'))
  if (format !== undefined) return format
  throw badFlag('format', text ?? '', 'unknown format', SAVE_FORMATS.join(', '))
}
