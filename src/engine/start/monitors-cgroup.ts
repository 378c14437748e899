import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { prepareCgroupParent } from '../../cgroups/prepare.ts'
import { errnoOf } from '../../model/errors.ts'
import { hostFacts } from '../../runtime/host.ts'

/** Monitors have a cgroup beside their containers': the end of the caller's service is not theirs. */
export function monitorsCgroup(): string | undefined {
  const facts = hostFacts().cgroup
  if (facts.mountpoint === undefined || facts.readonly) return undefined
  const path = join(prepareCgroupParent(facts, []), 'monitors')
  try {
    mkdirSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
  return path
}
