import type { HostFacts } from '../model/facts.ts'
import type { DoctorCheck } from './api.ts'
import { cgroupChecks } from './doctor/cgroups.ts'
import { kernelChecks } from './doctor/kernel.ts'
import { namespaceChecks } from './doctor/namespaces.ts'
import { readReport } from './doctor/read.ts'
import type { HostReport } from './doctor/report.ts'
import { storageChecks } from './doctor/storage.ts'
import { surroundingChecks } from './doctor/surroundings.ts'
import type { EnginePaths } from './paths.ts'

/**
 * Looks at this host and says what works, what works with less (`warn`), and without what no container runs (`fail`).
 * Nothing is changed: what is tried, such as namespaces, is gone when this resolves.
 */
export async function runDoctor(facts: HostFacts, paths: EnginePaths): Promise<readonly DoctorCheck[]> {
  return judge(await readReport(facts, paths))
}

/** The checks of any host, the most basic ones first. */
export function judge(report: HostReport): readonly DoctorCheck[] {
  return [
    ...kernelChecks(report),
    ...namespaceChecks(report),
    ...storageChecks(report),
    ...cgroupChecks(report),
    ...surroundingChecks(report),
  ]
}
