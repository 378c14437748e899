import type { NetworkDriver } from '../../model/network.ts'
import { TscrunError } from '../../model/errors.ts'
import { confirmed } from '../ask.ts'
import type { Command, FlagValues } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { badFlag, warningLine } from '../errors.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import {
  NETWORK_CREATE_FLAGS,
  NETWORK_INSPECT_FLAGS,
  NETWORK_LS_FLAGS,
  NETWORK_PRUNE_FLAGS,
  NETWORK_RM_FLAGS,
} from '../flags/network.ts'
import { formatListing, formatObjects } from '../output/format.ts'
import { inspectedNetwork, NETWORK_HEADINGS, networkRow } from '../output/networks.ts'
import { print, printError } from '../output/print.ts'
import { keyValues } from '../parse/environment.ts'
import { parseNetworkFilter } from '../parse/network-filter.ts'
import { parseInteger } from '../parse/numbers.ts'

const DRIVERS = ['bridge', 'macvlan', 'ipvlan', 'none'] as const

export const networkCreateCommand: Command = {
  name: 'network create',
  usage: 'NAME',
  description: 'Make a network and print its name',
  flags: NETWORK_CREATE_FLAGS,
  operands: { min: 1, max: 1, noun: 'name' },
  async run({ flags, operands, engine }) {
    const [name = ''] = operands
    const networks = await (await engine()).networks()
    const made = await networks.create({
      name,
      driver: driverOf(flags),
      subnets: flags.list('subnet'),
      gateways: flags.list('gateway'),
      internal: flags.bool('internal'),
      ipv6: flags.bool('ipv6'),
      labels: keyValues('label', flags.list('label')),
      ignore: flags.bool('ignore'),
      ...options(flags),
    })
    print(`${made.name}\n`)
    return 0
  },
}

function driverOf(flags: FlagValues): NetworkDriver {
  const text = flags.text('driver') ?? 'bridge'
  const driver = DRIVERS.find((known) => known === text)
  if (driver === undefined) throw badFlag('driver', text, 'unknown driver', DRIVERS.join(', '))
  return driver
}

function options(flags: FlagValues): { readonly mtu?: number; readonly parent?: string } {
  const { mtu, parent, ...rest } = keyValues('opt', flags.list('opt'))
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw badFlag('opt', unknown, 'unknown option', 'mtu or parent')
  return {
    ...(mtu === undefined ? {} : { mtu: parseInteger('opt', mtu, { min: 68, max: 65535, within: `mtu=${mtu}` }) }),
    ...(parent === undefined ? {} : { parent }),
  }
}

export const networkLsCommand: Command = {
  name: 'network ls',
  usage: '',
  description: 'List networks',
  flags: NETWORK_LS_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const networks = await (await (await engine()).networks()).list(
      parseNetworkFilter(flags.list('filter'), Date.now()),
    )
    const rows = networks.map((network) => networkRow(network, flags.bool('no-trunc')))
    if (flags.bool('quiet')) print(rows.map(({ ID }) => `${ID}\n`).join(''))
    else {
      const listing = { headings: NETWORK_HEADINGS, columns: ['ID', 'Name', 'Driver', 'Subnets'] as const, rows }
      print(await formatListing(listing, flags.text('format')))
    }
    return 0
  },
}

export const networkInspectCommand: Command = {
  name: 'network inspect',
  usage: 'NETWORK [NETWORK...]',
  description: 'Show what is known about networks',
  flags: NETWORK_INSPECT_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'network' },
  async run({ flags, operands, globals, engine }) {
    const networks = await (await engine()).networks()
    const found: unknown[] = []
    const lookAt = async (name: string): Promise<void> => void found.push(inspectedNetwork(await networks.get(name)))
    const exitCode = await forEachOperand(operands, lookAt, globals.debug)
    print(await formatObjects(found, flags.text('format')))
    return exitCode
  },
}

export const networkExistsCommand: Command = {
  name: 'network exists',
  usage: 'NETWORK',
  description: 'End with 0 where there is a network of this name, with 1 where not',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: 1, noun: 'network' },
  async run({ operands, engine }) {
    const [name = ''] = operands
    try {
      await (await (await engine()).networks()).get(name)
      return 0
    } catch (error) {
      if (isMissing(error)) return 1
      throw error
    }
  },
}

function isMissing(error: unknown): boolean {
  return error instanceof TscrunError && error.code === 'NO_SUCH_NETWORK'
}

export const networkRmCommand: Command = {
  name: 'network rm',
  usage: 'NETWORK [NETWORK...]',
  description: 'Remove networks that no container has',
  flags: NETWORK_RM_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'network' },
  async run({ flags, operands, globals, engine }) {
    const networks = await (await engine()).networks()
    const removeOne = async (name: string): Promise<void> => {
      try {
        print(`${await networks.remove(name)}\n`)
      } catch (error) {
        if (!isMissing(error) || !flags.bool('force')) throw error
      }
    }
    return forEachOperand(operands, removeOne, globals.debug)
  },
}

export const networkPruneCommand: Command = {
  name: 'network prune',
  usage: '',
  description: 'Remove networks that no container has',
  flags: NETWORK_PRUNE_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const warning = 'This removes all networks that no container has.'
    if (!flags.bool('force') && !(await confirmed(warning, 'network prune'))) return 0
    const removed = await (await (await engine()).networks()).prune(
      parseNetworkFilter(flags.list('filter'), Date.now()),
    )
    if (removed.length > 0) print(`Deleted Networks:\n${removed.join('\n')}\n`)
    return 0
  },
}

export const networkReloadCommand: Command = {
  name: 'network reload',
  usage: '',
  description: 'Make bridges and firewall rules anew, as after a flush of the firewall',
  flags: PLAIN_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ engine }) {
    await (await (await engine()).networks()).reload((line) => printError(warningLine(line)))
    return 0
  },
}
