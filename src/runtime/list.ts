import { readdirSync } from 'node:fs'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { readState } from './container.ts'
import { settledStatus, type StateDocument, stateDocument } from './state.ts'

/** Ids of all containers below `root`, sorted; also of those that are only half made. */
export function containerIds(root: string): string[] {
  try {
    const entries = readdirSync(root, { withFileTypes: true })
    return entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** `list`. One that is deleted meanwhile, or has no state yet, is not among them. */
export function listContainers(root: string): StateDocument[] {
  return containerIds(root).flatMap((id) => {
    try {
      const state = readState(root, id)
      return [stateDocument(state, settledStatus(root, state))]
    } catch (error) {
      if (error instanceof TscrunError && (error.code === 'NO_SUCH_CONTAINER' || error.code === 'USAGE')) return []
      throw error
    }
  })
}
