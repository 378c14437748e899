import { TscrunError } from '../model/errors.ts'
import { parseReference } from '../model/reference.ts'
import { dockerSource, dockerTarget } from './docker-transport.ts'
import { openPathSource, openPathTarget } from './archives/places.ts'
import type { ReachOptions } from './open-registry.ts'
import { type ImageLocation, type ImageSource, type ImageTarget, parseLocation, TRANSPORTS } from './transport.ts'

/** What opening a place needs beside its text. */
export interface PlaceOptions extends ReachOptions {
  /** A directory for files that are only there meanwhile. */
  readonly work: string
}

/** Opens a place to copy from. Throws USAGE for a text that names no transport. */
export async function openImageSource(text: string, options: PlaceOptions): Promise<ImageSource> {
  const location = locationOf(text)
  switch (location.transport) {
    case 'docker':
      return dockerSource(parseReference(location.rest), options)
    case 'oci':
    case 'oci-archive':
    case 'docker-archive':
    case 'dir':
      return openPathSource({ ...location, transport: location.transport }, options.work)
    default:
      return location.transport satisfies never
  }
}

/** Opens a place to copy to; `from` is where the copy comes from, whose blobs the same registry may take over. */
export function openImageTarget(text: string, options: PlaceOptions, from: string): ImageTarget {
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
      return openPathTarget({ ...location, transport: location.transport }, options.work)
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
