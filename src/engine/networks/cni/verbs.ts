import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CniAttachment, CniCapabilities, CniResult } from '../../../model/cni.ts'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import type { EnginePaths } from '../../paths.ts'
import { storeFailure } from '../../state/store-failure.ts'
import { cniAdd, cniCheck, cniDelete, type CniTarget } from './chain.ts'
import { cniAttachment, type CniPlaces, findCniNetwork } from './find.ts'

/** A network namespace by the words of the specification; for orchestrators, whose pods are no containers of a store. */
export interface CniName {
  /** Of a configuration in /etc/cni/net.d. */
  readonly network: string
  /** CNI_CONTAINERID: letters, digits, `_ . -`. */
  readonly id: string
  /** The link in there. Default: eth0. */
  readonly ifName?: string
}

export interface CniAddOptions extends CniName {
  /** Path of the network namespace, e.g. `/run/netns/x` or `/proc/1/ns/net`. */
  readonly netns: string
  readonly capabilities?: CniCapabilities
  /** CNI_ARGS. */
  readonly args?: Readonly<Record<string, string>>
  readonly places?: CniPlaces
}

/** Networks by plugins (CNI specification 1.0.0). What ADD was told and has answered is kept until DEL. */
export interface CniVerbs {
  /**
   * Resolves to the last plugin's result; where one fails, what was made is taken back. Throws NO_SUCH_NETWORK,
   * INVALID_CONFIG, HOST_UNSUPPORTED where a plugin is missing, KERNEL_REFUSED with a plugin's words.
   */
  add(options: CniAddOptions): Promise<CniResult>
  /** Throws KERNEL_REFUSED where something is not as ADD has made it, CONTAINER_STATE where it has made nothing. */
  check(name: CniName & { readonly netns: string }): Promise<void>
  /** What was not added, or is deleted already, is no error. `netns` may be left out where it is gone. */
  delete(name: CniName & { readonly netns?: string }): Promise<void>
}

export function cniVerbs(paths: EnginePaths): CniVerbs {
  return {
    add: async ({ netns, ...options }) => {
      const { network, id, ifName = 'eth0', ...asked } = options
      const attachment = cniAttachment(findCniNetwork(network, asked.places), { ...asked, ifName })
      const file = fileOf(paths, options)
      keepAttachment(`${file}.attachment`, attachment)
      return cniAdd({ id, netns, attachment, cache: file })
    },
    check: async ({ netns, ...name }) => {
      const target = targetOf(paths, name)
      if (target === undefined) {
        throw new TscrunError('CONTAINER_STATE', `network cni:${name.network}: ${name.id} is not in it`, {
          subject: name.id,
        })
      }
      await cniCheck({ ...target, netns })
    },
    delete: async ({ netns, ...name }) => {
      const target = targetOf(paths, name)
      if (target === undefined) return
      await cniDelete({ ...target, ...(netns === undefined ? {} : { netns }) })
      rmSync(`${target.cache}.attachment`, { force: true })
    },
  }
}

function fileOf(paths: EnginePaths, { network, id, ifName = 'eth0' }: CniName): string {
  for (const part of [network, id, ifName]) {
    if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(part)) continue
    throw new TscrunError('USAGE', `CNI: ${JSON.stringify(part)}: it must be letters, digits, _ . -`, { subject: part })
  }
  return join(paths.root, 'cni', network, `${id}:${ifName}.json`)
}

function keepAttachment(path: string, attachment: CniAttachment): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(path, JSON.stringify(attachment), { mode: 0o600 })
  } catch (error) {
    throw storeFailure(error, path)
  }
}

/** As it was added, whatever the configuration says by now. */
function targetOf(paths: EnginePaths, name: CniName): CniTarget | undefined {
  const cache = fileOf(paths, name)
  try {
    const attachment = JSON.parse(readFileSync(`${cache}.attachment`, 'utf8')) as CniAttachment
    return { id: name.id, attachment, cache }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw storeFailure(error, cache)
  }
}
