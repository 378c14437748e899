import { existsSync, readdirSync, readFileSync, rmSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { listDirectory, readIfThere, writeDurably } from '../../../images/files.ts'
import { TscrunError } from '../../../model/errors.ts'
import { lostMountPoints } from '../../image-verbs/mounts.ts'
import { definitionsDirectory, readNetwork } from '../../networks/definitions.ts'
import type { EnginePaths } from '../../paths.ts'
import { PREPARED_FILE } from '../../prepared/file.ts'
import { isBegun } from '../../state/begun.ts'
import { containerIds } from '../../state/containers.ts'
import { isHeld } from '../../state/directory-lock.ts'
import { ownerTag, tagOf } from '../../state/owner-link.ts'
import { readVolume } from '../../volumes/store.ts'
import { DATA, userIds, volumePath } from '../../volumes/users.ts'
import { type CheckFinding, shortId } from './finding.ts'

/** Links of names, ranges and addresses whose container is gone. */
export function checkOrphans(paths: EnginePaths): readonly CheckFinding[] {
  const known = new Set(containerIds(paths).map(ownerTag))
  const lost = (tag: string | undefined): boolean => tag !== undefined && !known.has(tag)
  const found: CheckFinding[] = []
  const add = (about: string, subject: string): void =>
    void found.push({ about, subject, what: 'is given to a container that is gone', mend: 'sweep' })
  for (const name of listDirectory(paths.names)) if (lost(tagOf(join(paths.names, name)))) add('name', name)
  for (const network of listDirectory(join(paths.root, 'leases'))) {
    const directory = join(paths.root, 'leases', network)
    for (const address of listDirectory(directory)) {
      const link = join(directory, address)
      if (lost(tagOf(link)) && !isBegun(link)) add('address', address)
    }
  }
  for (const range of listDirectory(paths.ranges)) {
    const path = join(paths.ranges, range)
    const tag = range.startsWith('new.') ? range.slice('new.'.length) : tagOf(path)
    // One that several share is a directory with a link for each.
    const tags = tag === undefined ? readdirSync(path) : [tag]
    if (tags.some(lost)) add('range', range)
  }
  return found
}

export function checkVolumes(paths: EnginePaths): readonly CheckFinding[] {
  const ids = new Set(containerIds(paths))
  return listDirectory(paths.volumes).flatMap((name): readonly CheckFinding[] => {
    const about = { about: 'volume', subject: name }
    const path = volumePath(paths, name)
    const users = userIds(path)
    if (name.startsWith('.') || users === undefined) {
      // Whoever makes or removes it holds it.
      if (isHeld(path) || !existsSync(path)) return []
      return [{ ...about, what: 'is half made or half removed', mend: 'sweep' }]
    }
    const found: CheckFinding[] = []
    const hint = `its files are in ${join(path, DATA)}; a new volume can take them`
    if (damageOf(() => readVolume(paths, name) === undefined))
      found.push({ ...about, what: 'its record is damaged', hint })
    if (!existsSync(join(path, DATA))) found.push({ ...about, what: 'its files are gone', hint: 'remove the volume' })
    for (const id of users) {
      if (!ids.has(id)) {
        found.push({ ...about, what: `is noted as used by a container that is gone (${shortId(id)})`, mend: 'sweep' })
      }
    }
    return found
  })
}

/** True where it cannot be read, or `isWrong` says so. */
function damageOf(isWrong: () => boolean): boolean {
  try {
    return isWrong()
  } catch (error) {
    if (error instanceof TscrunError) return true
    throw error
  }
}

export function checkNetworks(paths: EnginePaths): readonly CheckFinding[] {
  const directory = definitionsDirectory(paths)
  return listDirectory(directory).flatMap((file): readonly CheckFinding[] => {
    const name = /^(.+)\.json$/.exec(file)?.[1]
    if (name === undefined || !damageOf(() => readNetwork(paths, name) === undefined)) return []
    return [
      {
        about: 'network',
        subject: name,
        what: 'its definition is damaged',
        hint: `remove ${join(directory, file)}, and make it anew`,
      },
    ]
  })
}

/** Lines that are no events: what is left of one that a power cut has caught. */
export function checkEvents(paths: EnginePaths): readonly CheckFinding[] {
  return [paths.events, `${paths.events}.1`].flatMap((path): readonly CheckFinding[] => {
    const lines = (readIfThere(path)?.toString() ?? '').split('\n')
    const good = lines.filter((line) => line === '' || isObject(line))
    if (good.length === lines.length) return []
    const count = lines.length - good.length
    const mend = (): boolean => {
      writeDurably(path, good.join('\n'), join(paths.root, 'work'))
      return true
    }
    return [{ about: 'events', subject: path, what: `${count} of its lines are damaged`, mend }]
  })
}

function isObject(line: string): boolean {
  try {
    return typeof JSON.parse(line) === 'object'
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

/** Starts that were kept to be done again: one that is not whole only costs the time of a usual start. */
export function checkPrepared(paths: EnginePaths): readonly CheckFinding[] {
  const directory = join(paths.root, 'prepared')
  return listDirectory(directory).flatMap((name): readonly CheckFinding[] => {
    const path = join(directory, name)
    const bytes = readFileSync(path)
    const isWhole =
      bytes.length >= PREPARED_FILE.header &&
      bytes.readUInt32LE(0) === PREPARED_FILE.magic &&
      bytes.readUInt32LE(8) === bytes.length
    const isOld = bytes.length >= 8 && bytes.readUInt32LE(4) !== PREPARED_FILE.version
    if (isWhole || isOld) return []
    const mend = (): boolean => {
      rmSync(path, { force: true })
      return true
    }
    return [{ about: 'prepared start', subject: name, what: 'is damaged', mend }]
  })
}

/** Where images were mounted before the machine was started anew. */
export function checkMountPoints(paths: EnginePaths): readonly CheckFinding[] {
  return lostMountPoints(paths).map((path) => ({
    about: 'mount',
    subject: path,
    what: 'nothing is mounted there any more',
    mend: () => {
      rmdirSync(path)
      return true
    },
  }))
}
