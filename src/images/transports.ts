import { TscrunError } from '../model/errors.ts'
import { parseReference } from '../model/reference.ts'
import { dockerSource, dockerTarget } from './docker-transport.ts'
import type { ReachOptions } from './open-registry.ts'
import { type ImageLocation, type ImageSource, type ImageTarget, parseLocation, TRANSPORTS } from './transport.ts'

/** Opens a place to copy from. Throws USAGE for a text that names no transport. */
export function openImageSource(text: string, options: ReachOptions): ImageSource {
  const location = locationOf(text)
  switch (location.transport) {
    case 'docker':
      return dockerSource(parseReference(location.rest), options)
    case 'oci':
    case 'oci-archive':
    case 'docker-archive':
    case 'dir':
      throw notHere(text, location)
    default:
      return location.transport satisfies never
  }
}

/** Opens a place to copy to; `from` is where the copy comes from, whose blobs the same registry may take over. */
export function openImageTarget(text: string, options: ReachOptions, from: string): ImageTarget {
  const location = locationOf(text)
  switch (location.transport) {
    case 'docker': {
      const reference = parseReference(location.rest)
      const source = parseLocation(from)
      const neighbour = source?.transport === 'docker' ? parseReference(source.rest) : undefined
      const isNear = neighbour?.registry === reference.registry && neighbour.repository !== reference.repository
      return dockerTarget(reference, { ...options, mountFrom: () => (isNear ? [neighbour.repository] : []) })
    }
    case 'oci':
    case 'oci-archive':
    case 'docker-archive':
    case 'dir':
      throw notHere(text, location)
    default:
      return location.transport satisfies never
  }
}

function locationOf(text: string): ImageLocation {
  const location = parseLocation(text)
  if (location !== undefined) return location
  throw new TscrunError('USAGE', `${text}: which transport?`, {
    subject: text,
    hint: `begin it with docker://, ${TRANSPORTS.filter((name) => name !== 'docker').join(':, ')}:`,
  })
}

function notHere(text: string, { transport }: ImageLocation): TscrunError {
  return new TscrunError('USAGE', `${text}: ${transport}: not supported yet`, { subject: text })
}
