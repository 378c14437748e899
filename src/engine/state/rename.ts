import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { AT_FDCWD, cString, trySyscall } from '../../syscall/call.ts'
import { errnoName, SyscallError } from '../../syscall/errno.ts'
import { tellMonitor } from '../live/changed.ts'
import { changeRecord, containerIds, nameInUse, nameOf, readRecord, withRecordLock, writeRecord } from './containers.ts'
import { findContainer, noSuchContainer } from './containers-view.ts'
import { containerEvent, writeEvents } from '../events/log.ts'
import { checkName } from '../start/name.ts'
import { linkOwner } from './owner-link.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from './record.ts'

const RENAME_NOREPLACE = 1

/** Gives a container another name. Throws NAME_IN_USE, USAGE for what is no name. Resolves to its id. */
export async function renameContainer(paths: EnginePaths, idOrName: string, name: string): Promise<string> {
  const { record: before } = findContainer(paths, idOrName)
  checkName(name)
  if (before.name === name) {
    throw new TscrunError('USAGE', `rename ${idOrName}: this is its name`, { subject: name })
  }
  const record = withRecordLock(paths, () => moveName(paths, before.id, name))
  if (record === undefined) throw noSuchContainer(idOrName)
  await tellMonitor(paths, record)
  writeEvents(paths, [containerEvent(record, 'rename', { oldName: before.name })])
  return record.id
}

/**
 * The link moves first, in one call: it is what finds the container and what its end removes, whatever it is called. The
 * record follows; `ps` mends one that was left behind. Undefined where the container has ended and gone meanwhile.
 */
function moveName(paths: EnginePaths, id: string, name: string): ContainerRecord | undefined {
  const old = nameOf(paths, id)
  if (old === undefined) return undefined
  if (old !== name) moveLink(paths, old, name)
  try {
    const record = readRecord(paths, id)
    if (record === undefined) return undefined
    const renamed = { ...record, name }
    writeRecord(paths, renamed)
    return renamed
  } catch (error) {
    // Its directory has gone, and with it the name.
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function moveLink(paths: EnginePaths, old: string, name: string): void {
  const [from, to] = [join(paths.names, old), join(paths.names, name)]
  for (;;) {
    const result = trySyscall('renameat2', [AT_FDCWD, cString(from), AT_FDCWD, cString(to), RENAME_NOREPLACE])
    if (result === 0) return
    const errno = errnoName(-result)
    if (errno === 'ENOENT') return
    if (errno !== 'EEXIST') throw new SyscallError('renameat2', -result, from)
    const owner = linkOwner(to, containerIds(paths))
    if (owner !== undefined) throw nameInUse(name, owner)
    // That of a container that is gone.
    rmSync(to, { force: true })
  }
}

/** Records whose name finds nothing: whoever renamed them was killed in between. */
export function mendNames(paths: EnginePaths, records: readonly ContainerRecord[]): void {
  if (records.length === 0) return
  const known = new Set(readdirSync(paths.names))
  for (const { id, name } of records) if (!known.has(name)) mendName(paths, id)
}

function mendName(paths: EnginePaths, id: string): void {
  // One that is being removed has let go of its name already.
  if (nameOf(paths, id) === undefined) return
  try {
    changeRecord(paths, id, (record) => ({ ...record, name: nameOf(paths, id) ?? record.name }))
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}
