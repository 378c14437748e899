import type { CniAttachment, CniCall, CniResult } from '../../model/cni.ts'

export type CniCommand = 'ADD' | 'CHECK' | 'DEL'

/** Environment of a plugin, but for CNI_NETNS (CNI specification, "Parameters"). */
export function cniEnvironment(command: CniCommand, id: string, attachment: CniAttachment): Record<string, string> {
  const { ifName, path, args } = attachment
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_IFNAME: ifName,
    CNI_PATH: path,
    ...(args === undefined ? {} : { CNI_ARGS: args }),
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  }
}

/** In the order of a command: what was added last is deleted first. */
export function callsOf(command: CniCommand, { calls }: CniAttachment): readonly CniCall[] {
  return command === 'DEL' ? calls.toReversed() : calls
}

/** A plugin's input: its configuration with the result so far. */
export function cniInput({ config }: CniCall, prevResult: string | undefined): string {
  return prevResult === undefined ? config : `${config.slice(0, -1)},"prevResult":${prevResult}}`
}

/** `msg` and `details` of a plugin's error (CNI specification, "Error"), on one line; what it said where it is none. */
export function cniErrorWords(said: string): string {
  let error: unknown
  try {
    error = JSON.parse(said)
  } catch (failure) {
    if (!(failure instanceof SyntaxError)) throw failure
    return oneLine(said.trimEnd().split('\n').at(-1) ?? '')
  }
  const { msg, details } = (error ?? {}) as { readonly msg?: unknown; readonly details?: unknown }
  const words = [msg, details].filter((word) => typeof word === 'string' && word !== '').map(String)
  return oneLine(words.length === 0 ? said : words.join(': '))
}

function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- nothing of it reaches a terminal as more than text
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim()
}

type Json = Readonly<Record<string, unknown>>

const objects = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : [])
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []

/** Reads what ADD printed. Throws RangeError where it is no result. */
export function parseCniResult(text: string): CniResult {
  const result: unknown = JSON.parse(text)
  if (typeof result !== 'object' || result === null || Array.isArray(result)) throw new RangeError('not a CNI result')
  const { cniVersion, interfaces, ips, routes, dns = {} } = result as Json
  const { nameservers, domain, search, options } = dns as Json
  return {
    cniVersion: String(cniVersion),
    interfaces: objects(interfaces).map(({ name, mac, sandbox }) => ({
      name: String(name),
      ...(typeof mac === 'string' ? { mac } : {}),
      ...(typeof sandbox === 'string' && sandbox !== '' ? { sandbox } : {}),
    })),
    ips: objects(ips).map((ip) => ({
      address: String(ip['address']),
      ...(typeof ip['gateway'] === 'string' ? { gateway: ip['gateway'] } : {}),
      ...(typeof ip['interface'] === 'number' ? { interface: ip['interface'] } : {}),
    })),
    routes: objects(routes).map(({ dst, gw }) => ({ dst: String(dst), ...(typeof gw === 'string' ? { gw } : {}) })),
    dns: {
      ...(nameservers === undefined ? {} : { nameservers: texts(nameservers) }),
      ...(typeof domain === 'string' ? { domain } : {}),
      ...(search === undefined ? {} : { search: texts(search) }),
      ...(options === undefined ? {} : { options: texts(options) }),
    },
  }
}
