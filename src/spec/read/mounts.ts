import type { OciMount } from '../../model/config.ts'
import { invalid, type Place, under } from './place.ts'
import { mappings } from './namespaces.ts'
import {
  checked,
  filledText,
  list,
  mapped,
  object,
  optional,
  type Read,
  required,
  text,
  unlessEmpty,
} from './vocabulary.ts'

/** Relative destinations are deprecated and start at the container's root (config.md, Mounts). */
const destination: Read<string> = mapped(filledText, (path) => (path.startsWith('/') ? path : `/${path}`))

const mount: Read<OciMount> = checked(
  object<OciMount>({
    destination: required(destination),
    type: optional(unlessEmpty(text)),
    source: optional(unlessEmpty(text)),
    options: optional(list(text)),
    uidMappings: optional(mappings),
    gidMappings: optional(mappings),
  }),
  checkMount,
)

function checkMount({ type, source, options = [], uidMappings, gidMappings }: OciMount, at: Place): void {
  const bind = type === 'bind' || options.includes('bind') || options.includes('rbind')
  if (bind && source === undefined) throw invalid(under(at, 'source'), 'missing, and this is a bind mount')
  if ((uidMappings?.length ?? 0) > 0 !== (gidMappings?.length ?? 0) > 0) {
    const [absent, present] = (uidMappings?.length ?? 0) > 0 ? ['gid', 'uid'] : ['uid', 'gid']
    throw invalid(under(at, `${absent}Mappings`), `missing beside ${present}Mappings`)
  }
}

/** `mounts` of config.json, in their order (config.md, Mounts). */
export const mounts: Read<OciMount[]> = list(mount)

/** A mount is to be shifted by the container's ids, so there must be some. Throws for the first one without. */
export function checkIdmaps(all: readonly OciMount[], ownIds: boolean, at: Place): void {
  for (const [index, { options = [], uidMappings }] of all.entries()) {
    const option = options.findIndex((word) => word === 'idmap' || word === 'ridmap')
    if (option < 0 || ownIds || (uidMappings?.length ?? 0) > 0) continue
    const place = under(under(under(at, index), 'options'), option)
    throw invalid(place, `${options[option]} has no mapping to use: neither this mount nor the container has one`)
  }
}
