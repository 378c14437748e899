import type { CniCapabilities, CniNetwork, CniPlugin } from '../../model/cni.ts'
import { TscrunError } from '../../model/errors.ts'

/** Versions of the specification whose results are read here. */
export const CNI_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

/** CNI specification, section 1: letters and digits first, then also `_ . -`. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/
/** It becomes the name of a program in one of the plugins' directories: never a path (CVE-2021-20206). */
const TYPE = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$/
const MAX_PLUGINS = 32

type Json = Readonly<Record<string, unknown>>

/**
 * Reads a file of `/etc/cni/net.d`: a list of plugins (`*.conflist`), or the configuration of one (`*.conf`). Throws
 * INVALID_CONFIG.
 */
export function parseCniNetwork(text: string, file: string): CniNetwork {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw invalid(file, (error as Error).message)
  }
  if (!isObject(json)) throw invalid(file, 'it is no JSON object')
  const { name, cniVersion = '0.2.0', disableCheck = false, plugins } = json
  if (typeof name !== 'string' || !NAME.test(name))
    throw invalid(file, `name: ${JSON.stringify(name)} is no network's name`)
  if (!CNI_VERSIONS.some((version) => version === cniVersion)) {
    throw invalid(file, `cniVersion: ${JSON.stringify(cniVersion)} is none of ${CNI_VERSIONS.join(', ')}`)
  }
  if (plugins !== undefined && !Array.isArray(plugins)) throw invalid(file, 'plugins: it is no list')
  const list: unknown[] = plugins ?? [json]
  if (list.length === 0 || list.length > MAX_PLUGINS)
    throw invalid(file, `plugins: ${list.length} of them, where 1 to ${MAX_PLUGINS} can be`)
  return {
    name,
    cniVersion: String(cniVersion),
    disableCheck: disableCheck === true || disableCheck === 'true',
    plugins: list.map((plugin, index) => parsePlugin(plugin, file, `plugins[${index}]`)),
  }
}

function parsePlugin(plugin: unknown, file: string, where: string): CniPlugin {
  if (!isObject(plugin)) throw invalid(file, `${where}: it is no JSON object`)
  const { capabilities = {}, ...config } = plugin
  const type = config['type']
  if (typeof type !== 'string' || !TYPE.test(type))
    throw invalid(file, `${where}.type: ${JSON.stringify(type)} is no plugin's name`)
  if (!isObject(capabilities)) throw invalid(file, `${where}.capabilities: it is no JSON object`)
  return { type, config, capabilities: Object.keys(capabilities).filter((key) => capabilities[key] === true) }
}

/**
 * What a plugin is told on its standard input, without `prevResult`: its configuration with the list's name and version,
 * and of the capabilities those that it declares (CNI specification, "Deriving execution configuration from plugin
 * configuration").
 */
export function executionConfig(network: CniNetwork, plugin: CniPlugin, capabilities: CniCapabilities): string {
  const told = plugin.capabilities.filter((key) => capabilities[key] !== undefined)
  const { prevResult: _prevResult, runtimeConfig: _runtimeConfig, ...config } = plugin.config
  return JSON.stringify({
    ...config,
    cniVersion: network.cniVersion,
    name: network.name,
    ...(told.length === 0 ? {} : { runtimeConfig: Object.fromEntries(told.map((key) => [key, capabilities[key]])) }),
  })
}

/** Capabilities that are asked for and that no plugin of the network has. */
export function unheardCapabilities(network: CniNetwork, capabilities: CniCapabilities): string[] {
  const heard = new Set(network.plugins.flatMap((plugin) => plugin.capabilities))
  return Object.keys(capabilities).filter((key) => capabilities[key] !== undefined && !heard.has(key))
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(file: string, reason: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `CNI configuration ${file}: ${reason}`, {
    subject: file,
    hint: 'it is a network configuration list of the CNI specification, 0.3.0 to 1.1.0',
  })
}
