import type { HostFacts } from '../model/facts.ts'
import type { DoctorCheck } from './api.ts'
import type { EnginePaths } from './paths.ts'

export async function runDoctor(_facts: HostFacts, _paths: EnginePaths): Promise<readonly DoctorCheck[]> {
  return []
}
