import { confirmed } from '../ask.ts'
import type { Command } from '../command.ts'
import {
  CONTAINER_PRUNE_FLAGS,
  IMAGE_PRUNE_FLAGS,
  SYSTEM_DF_FLAGS,
  SYSTEM_PRUNE_FLAGS,
  SYSTEM_RESET_FLAGS,
} from '../flags/system.ts'
import { formatUsage, formatUsageList } from '../output/disk-usage.ts'
import { formatSize } from '../output/images.ts'
import { print } from '../output/print.ts'
import { parsePruneFilter } from '../parse/prune-filter.ts'

const NO_OPERANDS = { min: 0, max: 0, noun: 'argument' } as const

export const systemDfCommand: Command = {
  name: 'system df',
  usage: '',
  description: 'Show what images, containers and volumes take on the disk',
  flags: SYSTEM_DF_FLAGS,
  operands: NO_OPERANDS,
  async run({ flags, engine }) {
    const usage = await (await (await engine()).system()).df()
    const format = flags.text('format')
    print(flags.bool('verbose') ? await formatUsageList(usage, format, Date.now()) : await formatUsage(usage, format))
    return 0
  },
}

export const imagePruneCommand: Command = {
  name: 'image prune',
  usage: '',
  description: 'Remove images without a name that no container has; with --all those with a name, too',
  flags: IMAGE_PRUNE_FLAGS,
  operands: NO_OPERANDS,
  async run({ flags, engine }) {
    const all = flags.bool('all')
    const filter = parsePruneFilter(flags.list('filter'), Date.now())
    const warning = `This removes all images ${all ? '' : 'without a name '}that no container has.`
    if (!flags.bool('force') && !(await confirmed(warning, 'image prune'))) return 0
    const { untagged, images, reclaimedBytes } = await (await (await engine()).system()).pruneImages({ all, filter })
    print(`${imageList(untagged, images)}${total(reclaimedBytes)}`)
    return 0
  },
}

export const containerPruneCommand: Command = {
  name: 'container prune',
  usage: '',
  description: 'Remove all containers that do not run',
  flags: CONTAINER_PRUNE_FLAGS,
  operands: NO_OPERANDS,
  async run({ flags, engine }) {
    const filter = parsePruneFilter(flags.list('filter'), Date.now())
    const warning = 'This removes all containers that do not run.'
    if (!flags.bool('force') && !(await confirmed(warning, 'container prune'))) return 0
    const { containers, reclaimedBytes } = await (await (await engine()).system()).pruneContainers(filter)
    print(`${list('Deleted Containers', containers)}${total(reclaimedBytes)}`)
    return 0
  },
}

export const systemPruneCommand: Command = {
  name: 'system prune',
  usage: '',
  description: 'Remove containers that do not run, and images and volumes that nobody needs',
  flags: SYSTEM_PRUNE_FLAGS,
  operands: NO_OPERANDS,
  async run({ flags, engine }) {
    const [all, volumes] = [flags.bool('all'), flags.bool('volumes')]
    const filter = parsePruneFilter(flags.list('filter'), Date.now())
    const things = [
      'all containers that do not run',
      `all images ${all ? '' : 'without a name '}that no container has`,
      ...(volumes ? ['all anonymous volumes that no container has'] : []),
    ]
    const warning = `This removes:\n${things.map((thing) => `  - ${thing}\n`).join('')}`
    if (!flags.bool('force') && !(await confirmed(warning, 'system prune'))) return 0
    const pruned = await (await (await engine()).system()).prune({ all, volumes, filter })
    const text = [
      list('Deleted Containers', pruned.containers),
      imageList(pruned.untagged, pruned.images),
      list('Deleted Volumes', pruned.volumes),
    ]
    print(`${text.join('')}${total(pruned.reclaimedBytes)}`)
    return 0
  },
}

export const systemResetCommand: Command = {
  name: 'system reset',
  usage: '',
  description: 'Remove everything: containers, images, volumes, and the store itself',
  flags: SYSTEM_RESET_FLAGS,
  operands: NO_OPERANDS,
  async run({ flags, engine }) {
    const force = flags.bool('force')
    const warning = 'This removes all containers, images and volumes, with what is in them.\n'
    if (!force && !(await confirmed(warning, 'system reset'))) return 0
    const { containers, stays } = await (await (await engine()).system()).reset({ force })
    print(list('Deleted Containers', containers))
    print(stays.length === 0 ? 'Everything is gone\n' : `What stays:\n${stays.map((line) => `${line}\n`).join('')}`)
    return 0
  },
}

function list(heading: string, names: readonly string[]): string {
  return names.length === 0 ? '' : `${heading}:\n${names.join('\n')}\n\n`
}

function imageList(untagged: readonly string[], deleted: readonly string[]): string {
  return list('Deleted Images', [
    ...untagged.map((name) => `untagged: ${name}`),
    ...deleted.map((id) => `deleted: ${id}`),
  ])
}

function total(bytes: number): string {
  return `Total reclaimed space: ${formatSize(bytes)}\n`
}
