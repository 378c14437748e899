import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CniAttachment, CniCapabilities, CniNetwork } from '../../../model/cni.ts'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import { executionConfig, parseCniNetwork, unheardCapabilities } from '../../../network/cni/configuration.ts'

/** Where configurations and plugins are looked for. */
export interface CniPlaces {
  /** Default: `NETCONFPATH`, or /etc/cni/net.d. */
  readonly configurations?: string
  /** Default: `CNI_PATH`, or where distributions have them. */
  readonly plugins?: readonly string[]
}

const CONFIGURATIONS = '/etc/cni/net.d'
const PLUGINS = ['/opt/cni/bin', '/usr/libexec/cni', '/usr/lib/cni']
const FILE = /\.(?:conflist|conf|json)$/
const MAX_BYTES = 1 << 20

/**
 * The network of this name in the first file, by name, that has it; files that cannot be read are passed over unless it
 * is in none of the others. Throws NO_SUCH_NETWORK, INVALID_CONFIG.
 */
export function findCniNetwork(name: string, places: CniPlaces = {}): CniNetwork {
  const directory = places.configurations ?? process.env['NETCONFPATH'] ?? CONFIGURATIONS
  let broken: TscrunError | undefined
  const names: string[] = []
  for (const file of filesOf(directory)) {
    try {
      const network = parseCniNetwork(readLimited(join(directory, file)), join(directory, file))
      if (network.name === name) return network
      names.push(network.name)
    } catch (error) {
      if (!(error instanceof TscrunError)) throw error
      broken ??= error
    }
  }
  if (broken !== undefined) throw broken
  throw new TscrunError('NO_SUCH_NETWORK', `network cni:${name}: no file of ${directory} has it`, {
    subject: name,
    hint:
      names.length === 0 ? `put its configuration list there, e.g. ${name}.conflist` : `there are ${names.join(', ')}`,
  })
}

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => FILE.test(file))
      .toSorted()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

function readLimited(path: string): string {
  const bytes = readFileSync(path)
  if (bytes.length <= MAX_BYTES) return bytes.toString('utf8')
  throw new TscrunError('INVALID_CONFIG', `CNI configuration ${path}: it has ${bytes.length} bytes, over 1 MiB`, {
    subject: path,
  })
}

/** What is asked of a network for one container. */
export interface CniRequest {
  /** The link in the container, e.g. `eth0`. */
  readonly ifName: string
  readonly capabilities?: CniCapabilities
  /** CNI_ARGS. */
  readonly args?: Readonly<Record<string, string>>
  readonly places?: CniPlaces
}

/**
 * Everything a network's plugins will be told. Throws HOST_UNSUPPORTED where one is not installed, or where none of them
 * would hear what is asked; USAGE for names the specification does not allow.
 */
export function cniAttachment(network: CniNetwork, request: CniRequest): CniAttachment {
  const { ifName, capabilities = {}, args = {}, places = {} } = request
  // dev_valid_name(): what the kernel takes, and CNI_IFNAME too.
  if (!/^[^\s/:]{1,15}$/.test(ifName) || ifName === '.' || ifName === '..') {
    throw new TscrunError('USAGE', `network cni:${network.name}: ${JSON.stringify(ifName)} is no link's name`, {
      subject: ifName,
    })
  }
  const [unheard] = unheardCapabilities(network, capabilities)
  if (unheard !== undefined) {
    throw new TscrunError('HOST_UNSUPPORTED', `network cni:${network.name}: no plugin of it has ${unheard}`, {
      subject: unheard,
      hint: `give one of them "capabilities": {"${unheard}": true}, or leave it out`,
    })
  }
  const directories = places.plugins ?? process.env['CNI_PATH']?.split(':').filter((path) => path !== '') ?? PLUGINS
  return {
    network: network.name,
    cniVersion: network.cniVersion,
    ifName,
    disableCheck: network.disableCheck,
    calls: network.plugins.map((plugin) => ({
      type: plugin.type,
      program: findPlugin(network.name, plugin.type, directories),
      config: executionConfig(network, plugin, capabilities),
    })),
    path: directories.join(':'),
    ...(Object.keys(args).length === 0 ? {} : { args: argsOf(args) }),
  }
}

function findPlugin(network: string, type: string, directories: readonly string[]): string {
  for (const directory of directories) {
    const path = join(directory, type)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch (error) {
      if (!['ENOENT', 'EACCES', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error
    }
  }
  throw new TscrunError(
    'HOST_UNSUPPORTED',
    `network cni:${network}: the plugin ${type} is not in ${directories.join(':')}`,
    {
      subject: type,
      hint: 'install it (package containernetworking-plugins), or say where it is by CNI_PATH',
    },
  )
}

function argsOf(args: Readonly<Record<string, string>>): string {
  return Object.entries(args)
    .map(([key, value]) => {
      if (/^[^=;\s]+$/.test(key) && !value.includes(';')) return `${key}=${value}`
      throw new TscrunError('USAGE', `CNI_ARGS: ${JSON.stringify(`${key}=${value}`)} cannot be told`, {
        subject: key,
        hint: 'neither may have a semicolon, nor the key = or blanks',
      })
    })
    .join(';')
}
