import { TscrunError } from '../../model/errors.ts'
import { confirmed } from '../ask.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { badFlag } from '../errors.ts'
import { VOLUME_CREATE_FLAGS, VOLUME_LS_FLAGS, VOLUME_PRUNE_FLAGS, VOLUME_RM_FLAGS } from '../flags/volume.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { formatListing } from '../output/format.ts'
import { formatSize } from '../output/images.ts'
import { print } from '../output/print.ts'
import { VOLUME_HEADINGS, volumeRow } from '../output/volumes.ts'
import { keyValues } from '../parse/environment.ts'
import { parseVolumeFilter } from '../parse/volume-filter.ts'

export const volumeCreateCommand: Command = {
  name: 'volume create',
  usage: '[NAME]',
  description: 'Make a volume and print its name',
  flags: VOLUME_CREATE_FLAGS,
  operands: { min: 0, max: 1, noun: 'name' },
  async run({ flags, operands, engine }) {
    const driver = flags.text('driver') ?? 'local'
    if (driver !== 'local' && driver !== '') throw badFlag('driver', driver, 'unknown driver', 'there is only local')
    const [name] = operands
    const { name: made } = await (await engine()).createVolume({
      ...(name === undefined ? {} : { name }),
      labels: keyValues('label', flags.list('label')),
      options: keyValues('opt', flags.list('opt')),
      ignore: flags.bool('ignore'),
    })
    print(`${made}\n`)
    return 0
  },
}

export const volumeLsCommand: Command = {
  name: 'volume ls',
  usage: '',
  description: 'List volumes',
  flags: VOLUME_LS_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const filter = parseVolumeFilter(flags.list('filter'), Date.now())
    const rows = (await (await engine()).volumes(filter)).map(volumeRow)
    if (flags.bool('quiet')) print(rows.map(({ Name }) => `${Name}\n`).join(''))
    else {
      const listing = { headings: VOLUME_HEADINGS, columns: ['Driver', 'Name'] as const, rows }
      print(await formatListing(listing, flags.text('format')))
    }
    return 0
  },
}

export const volumeExistsCommand: Command = {
  name: 'volume exists',
  usage: 'VOLUME',
  description: 'End with 0 where there is a volume of this name, with 1 where not',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: 1, noun: 'volume' },
  async run({ operands, engine }) {
    const [name = ''] = operands
    try {
      await (await engine()).volume(name)
      return 0
    } catch (error) {
      if (error instanceof TscrunError && error.code === 'NO_SUCH_VOLUME') return 1
      throw error
    }
  },
}

export const volumeRmCommand: Command = {
  name: 'volume rm',
  usage: 'VOLUME [VOLUME...]',
  description: 'Remove volumes that no container has',
  flags: VOLUME_RM_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'volume' },
  async run({ flags, operands, globals, engine }) {
    if (operands.length === 0 && !flags.bool('all')) {
      throw new TscrunError('USAGE', 'volume rm: the volume is missing', {
        subject: 'volume rm',
        hint: 'usage: tscrun volume rm [OPTIONS] VOLUME [VOLUME...]',
      })
    }
    const opened = await engine()
    const unused = flags.bool('all') ? (await opened.volumes({ dangling: true })).map(({ name }) => name) : []
    const removeOne = async (name: string): Promise<void> => {
      try {
        print(`${await opened.removeVolume(name)}\n`)
      } catch (error) {
        const missing = error instanceof TscrunError && error.code === 'NO_SUCH_VOLUME'
        if (!missing || !flags.bool('force')) throw error
      }
    }
    return forEachOperand([...operands, ...unused], removeOne, globals.debug)
  },
}

export const volumePruneCommand: Command = {
  name: 'volume prune',
  usage: '',
  description: 'Remove anonymous volumes that no container has; with --all those with a name, too',
  flags: VOLUME_PRUNE_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const all = flags.bool('all')
    const filter = parseVolumeFilter(flags.list('filter'), Date.now())
    const warning = `This removes all ${all ? '' : 'anonymous '}volumes that no container has, with what is in them.`
    if (!flags.bool('force') && !(await confirmed(warning, 'volume prune'))) return 0
    const { removed, reclaimedBytes } = await (await engine()).pruneVolumes({ all, filter })
    const list = removed.length === 0 ? '' : `Deleted Volumes:\n${removed.join('\n')}\n\n`
    print(`${list}Total reclaimed space: ${formatSize(reclaimedBytes)}\n`)
    return 0
  },
}
