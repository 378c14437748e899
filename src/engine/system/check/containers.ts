import { closeSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { TscrunError } from '../../../model/errors.ts'
import { isHeld } from '../../state/directory-lock.ts'
import { containerIds, liveIds, lockDirectory, nameOf, readRecord } from '../../state/containers.ts'
import { readExitFile } from '../../state/exit-file.ts'
import { claimLink, ownerTag, tagOf } from '../../state/owner-link.ts'
import { wasBooted } from '../../state/boot.ts'
import { leaseLinks } from '../../networks/lease-links.ts'
import type { EnginePaths } from '../../paths.ts'
import type { ContainerRecord } from '../../state/record.ts'
import { addUser, keptVolumes, userIds, volumePath } from '../../volumes/users.ts'
import { type CheckFinding, type Mend, shortId } from './finding.ts'

export interface ContainersCheck {
  readonly paths: EnginePaths
  /** Whether the store has all that a start needs of an image. */
  readonly hasImage: (id: string) => boolean
  /** Also removes containers whose record cannot be read, with what they have written. */
  readonly force: boolean
}

/** Every container: its record, its links, its volumes, and whether what is told of it can still be. */
export function checkContainers(check: ContainersCheck): readonly CheckFinding[] {
  const { paths } = check
  const ids = containerIds(paths)
  const live = liveIds(paths)
  const found = ids.flatMap((id) => checkOne(check, id, live.includes(id)))
  for (const id of live.filter((lost) => !ids.includes(lost))) {
    found.push({ about: 'container', subject: shortId(id), what: 'is in the run directory alone', mend: 'sweep' })
  }
  if (wasBooted(paths) && found.some(({ mend }) => mend === 'sweep')) {
    found.push({
      about: 'boot',
      subject: paths.root,
      what: 'nobody has looked after it since the machine was started',
      mend: 'sweep',
    })
  }
  return found
}

function checkOne(check: ContainersCheck, id: string, isLive: boolean): CheckFinding[] {
  const { paths } = check
  let record: ContainerRecord | undefined
  try {
    record = readRecord(paths, id)
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return [damagedRecord(check, id)]
  }
  const held = isHeld(join(paths.containers, id))
  const about = { about: 'container', subject: record?.name ?? shortId(id) }
  if (record === undefined) {
    return held ? [] : [{ ...about, what: 'has no record: it was never finished', mend: 'sweep' }]
  }
  if (record.id !== id) return [damagedRecord(check, id)]
  if (!held && (record.remove ? record.unstarted !== true : !hasEnd(paths, record))) {
    return [{ ...about, what: 'has ended, and nobody has noted how', mend: 'sweep' }]
  }
  // Somebody makes it or takes it away just now.
  if (held && !isLive) return []
  return [...checkImageOf(check, record), ...checkLinks(paths, record), ...checkVolumesOf(paths, record)].map(
    (finding) => ({ ...about, ...finding }),
  )
}

function hasEnd(paths: EnginePaths, record: ContainerRecord): boolean {
  return record.exit !== undefined || record.unstarted === true || readExitFile(paths, record.id) !== undefined
}

function damagedRecord({ paths, force }: ContainersCheck, id: string): CheckFinding {
  const directory = join(paths.containers, id)
  const finding = { about: 'container', subject: shortId(id), what: 'its record is damaged' }
  const hint = `what it has written is in ${directory}; \`tscrun system check --repair --force\` removes it`
  if (!force) return { ...finding, hint }
  return { ...finding, mend: () => removeUnlessHeld(paths, id) }
}

/** Its links go by the sweep: they lead to nobody then. */
function removeUnlessHeld(paths: EnginePaths, id: string): boolean {
  const directory = join(paths.containers, id)
  const lockFd = lockDirectory(directory)
  if (lockFd === undefined) return false
  try {
    rmSync(join(paths.runRoot, id), { recursive: true, force: true })
    rmSync(directory, { recursive: true, force: true })
    return true
  } finally {
    closeSync(lockFd)
  }
}

type Part = Pick<CheckFinding, 'what' | 'mend' | 'hint'>

function checkImageOf({ hasImage }: ContainersCheck, { imageId, image }: ContainerRecord): readonly Part[] {
  if (imageId === undefined || hasImage(imageId)) return []
  return [
    { what: `its image ${image} (${shortId(imageId)}) is gone`, hint: 'it cannot be started: pull the image again' },
  ]
}

/** A name, a range of ids and addresses are links: who has lost one may find it given to another. */
function checkLinks(paths: EnginePaths, record: ContainerRecord): readonly Part[] {
  const parts: Part[] = []
  const claim = (link: string, what: string): void => {
    const mend: Mend = () => claimLink(link, record.id)
    parts.push(
      existsSync(link) || isLink(link)
        ? { what: `${what} is another container's`, hint: REMOVE }
        : { what: `${what} is not noted as its own`, mend },
    )
  }
  if (nameOf(paths, record.id) === undefined) claim(join(paths.names, record.name), `the name ${record.name}`)
  if (record.idRange !== undefined) {
    const link = join(paths.ranges, String(record.idRange.hostId))
    if (!owns(link, record.id)) claim(link, `the range of ids at ${record.idRange.hostId}`)
  }
  for (const link of leaseLinks(paths, record.connections ?? [])) {
    if (!owns(link, record.id)) claim(link, `the address ${link.slice(link.lastIndexOf('/') + 1)}`)
  }
  return parts
}

const REMOVE = 'remove one of the two'

function isLink(path: string): boolean {
  return tagOf(path) !== undefined
}

/** The link's own tag, or an entry in the directory that a shared range is. */
function owns(link: string, id: string): boolean {
  return tagOf(link) === ownerTag(id) || tagOf(join(link, ownerTag(id))) !== undefined
}

function checkVolumesOf(paths: EnginePaths, { id, mounts }: ContainerRecord): readonly Part[] {
  return keptVolumes(mounts).flatMap(({ volume }): readonly Part[] => {
    const path = volumePath(paths, volume)
    const users = userIds(path)
    if (users === undefined)
      return [{ what: `its volume ${volume} is gone`, hint: 'make it anew, or remove the container' }]
    if (users.includes(id)) return []
    const mend = (): boolean => {
      addUser(path, id)
      return true
    }
    return [{ what: `is not noted as a user of its volume ${volume}`, mend }]
  })
}
