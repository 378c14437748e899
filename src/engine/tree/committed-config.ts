import type { StoredImage } from '../../images/store.ts'
import { readAccounts } from '../../rootfs/accounts.ts'
import { resolveUser } from '../../rootfs/user.ts'
import type { ImageConfigObject } from '../../spec/image-change.ts'
import type { ContainerRecord } from '../state/record.ts'

/** Variables that tscrun gives each container, which are no wish of its user. */
const OWN = ['HOSTNAME', 'TERM', 'HOME']

/** The `config` object of an image of this container: as its image has it, with what the user had otherwise. */
export function committedConfig(
  raw: ImageConfigObject,
  record: ContainerRecord,
  image: StoredImage | undefined,
): ImageConfigObject {
  const { process } = record.config
  if (process === undefined) return raw
  const before = image?.config
  const entrypoint = before?.entrypoint ?? []
  const args = process.args ?? []
  const kept = entrypoint.length > 0 && entrypoint.every((word, index) => word === args[index])
  const { Entrypoint: _entrypoint, Cmd: _cmd, ...rest } = raw
  const user = userOf(record, image)
  const labels = Object.fromEntries(Object.entries(record.labels))
  return {
    ...rest,
    ...(kept ? { Entrypoint: entrypoint } : {}),
    ...(kept && args.length === entrypoint.length ? {} : { Cmd: kept ? args.slice(entrypoint.length) : args }),
    Env: environmentOf(process.env ?? [], before?.env ?? []),
    ...(process.cwd === '/' && (before?.workingDir ?? '') === '' ? {} : { WorkingDir: process.cwd }),
    ...(user === '' ? {} : { User: user }),
    ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }),
  }
}

/** The image's variables, and those that the user gave. */
function environmentOf(env: readonly string[], image: readonly string[]): readonly string[] {
  const nameOf = (entry: string): string => entry.slice(0, entry.indexOf('='))
  const known = new Set(image.map(nameOf))
  return env.filter((entry) => known.has(nameOf(entry)) || !OWN.includes(nameOf(entry)))
}

/** The image's word for the user, unless the container ran as somebody else. */
function userOf({ config }: ContainerRecord, image: StoredImage | undefined): string {
  const user = config.process?.user
  const word = image?.config.user ?? ''
  if (user === undefined) return word
  const meant = image === undefined ? { uid: 0, gid: 0 } : resolveUser(word, ...readAccounts(image.layers))
  return meant.uid === user.uid && meant.gid === user.gid ? word : `${user.uid}:${user.gid}`
}
