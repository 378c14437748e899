import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OciResources } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { resourceWrites } from './resources.ts'
import type { CgroupWrite } from './writes.ts'

/**
 * Changes some limits of a cgroup; the others stay as they are. Throws INVALID_CONFIG for what no kernel takes,
 * CONTROLLER_UNAVAILABLE for a controller that the cgroup does not have, KERNEL_REFUSED for a value that is refused.
 */
export function updateLimits(directory: string, resources: OciResources): void {
  const current = (file: string): string[] => readWords(join(directory, file))
  checkUsage(directory, resources)
  let writes = resourceWrites(completed(resources, current), { minimumMemory: 0 })
  // A limit that is in the way of another one goes second: a burst may not exceed the quota, whichever changes.
  for (let round = 0; writes.length > 0; round++) {
    const refused: CgroupWrite[] = []
    for (const write of writes) {
      const error = tryWrite(directory, write)
      if (error === undefined) continue
      if (round > 0 || errnoOf(error) !== 'EINVAL') throw explain(directory, write, error)
      refused.push(write)
    }
    writes = refused
  }
}

/** What a part of the limits means together with what is in force: units of cgroup v1 tie some of them together. */
function completed(resources: OciResources, current: (file: string) => string[]): OciResources {
  const { memory, cpu } = resources
  return {
    ...resources,
    ...(memory === undefined ? {} : { memory: withMemoryLimit(memory, current) }),
    ...(cpu === undefined ? {} : { cpu: withBandwidth(cpu, current) }),
  }
}

/** `swap` counts memory and swap together. */
function withMemoryLimit(
  memory: NonNullable<OciResources['memory']>,
  current: (file: string) => string[],
): NonNullable<OciResources['memory']> {
  if ((memory.swap ?? 0) <= 0 || (memory.limit ?? 0) !== 0) return memory
  return { ...memory, limit: numberOf(current('memory.max')[0]) }
}

/** Quota and period share a file. */
function withBandwidth(
  cpu: NonNullable<OciResources['cpu']>,
  current: (file: string) => string[],
): NonNullable<OciResources['cpu']> {
  const asked = [cpu.quota, cpu.period, cpu.burst].filter((value) => (value ?? 0) !== 0)
  if (asked.length === 0 || (asked.length === 3 && cpu.quota !== -1)) return cpu
  const [quota, period] = current('cpu.max')
  return {
    ...cpu,
    quota: (cpu.quota ?? 0) === 0 ? numberOf(quota) : (cpu.quota ?? 0),
    period: (cpu.period ?? 0) === 0 ? numberOf(period) : (cpu.period ?? 0),
  }
}

/** -1 for `max`, 0 where there is no such file. */
function numberOf(word: string | undefined): number {
  return word === 'max' ? -1 : Number(word ?? 0)
}

/** A limit below what is in use would have the kernel kill; callers may ask to be refused instead. */
function checkUsage(directory: string, { memory }: OciResources): void {
  const limit = memory?.limit ?? 0
  if (memory?.checkBeforeUpdate !== true || limit <= 0) return
  const usage = numberOf(readWords(join(directory, 'memory.current'))[0])
  if (usage <= limit) return
  throw new TscrunError('INVALID_CONFIG', `memory limit ${limit}: ${usage} bytes are in use (checkBeforeUpdate)`, {
    subject: 'memory.limit',
  })
}

function readWords(file: string): string[] {
  try {
    return readFileSync(file, 'latin1').trim().split(/\s+/)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

function tryWrite(directory: string, { file, value, orElse, optional }: CgroupWrite): unknown {
  try {
    try {
      writeFileSync(join(directory, file), value, { flag: 'r+' })
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
      if (orElse !== undefined) writeFileSync(join(directory, orElse.file), orElse.value, { flag: 'r+' })
      else if (optional === undefined) throw error
    }
    return undefined
  } catch (error) {
    return error
  }
}

function explain(directory: string, { controller, file, value }: CgroupWrite, cause: unknown): TscrunError {
  const errno = errnoOf(cause)
  if (errno === undefined) throw cause
  if (errno === 'ENOENT') {
    return new TscrunError('CONTROLLER_UNAVAILABLE', `${join(directory, file)}: no such file (ENOENT)`, {
      errno,
      subject: controller,
      hint: `the ${controller} controller is not handed down to this container`,
      cause,
    })
  }
  return new TscrunError('KERNEL_REFUSED', `write ${JSON.stringify(value)} to ${join(directory, file)}: ${errno}`, {
    syscall: 'write',
    errno,
    subject: file,
    hint: `the kernel refuses this value of ${file}`,
    cause,
  })
}
