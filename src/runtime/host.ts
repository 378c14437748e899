import { existsSync, readFileSync } from 'node:fs'
import { readCgroupFacts } from '../cgroups/facts.ts'
import { errnoOf } from '../model/errors.ts'
import type { HostFacts } from '../model/facts.ts'
import { CAPABILITIES } from '../security/capabilities.ts'
import { hardLimit } from '../syscall/limits.ts'

let facts: HostFacts | undefined

/** Asks the machine once a process. */
export function hostFacts(): HostFacts {
  facts ??= readHostFacts()
  return facts
}

/** Whether the machine would answer the same now. */
export function factsAreCurrent(): boolean {
  const same = (before: unknown, now: unknown): boolean => JSON.stringify(before) === JSON.stringify(now)
  return same(facts, readHostFacts()) && same(cpus, readPresentCpus())
}

function readHostFacts(): HostFacts {
  const text = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()
  const [major, minor] = text.split('.').map((part) => Number.parseInt(part, 10))
  return {
    kernel: { major: major ?? 0, minor: minor ?? 0, release: text },
    arch: process.arch,
    euid: process.geteuid?.() ?? -1,
    cgroup: readCgroupFacts((path) => readFileSync(path, 'utf8')),
    userNamespaces:
      existsSync('/proc/self/ns/user') && readIfThere('/proc/sys/user/max_user_namespaces')?.trim() !== '0',
    apparmor: existsSync('/sys/kernel/security/apparmor'),
    selinux: existsSync('/sys/fs/selinux/enforce'),
  }
}

/** Text of a file, undefined where it is not there or not for us. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'EACCES' || errno === 'ENOTDIR') return undefined
    throw error
  }
}

/** Hard limit on open files of this process: a container's cannot be higher without CAP_SYS_RESOURCE. */
export function nofileHardLimit(): number {
  return Math.min(hardLimit(7), 524_288)
}

/** Numbers of the processors the kernel knows: `0-3` in /sys/devices/system/cpu/present. */
export function presentCpus(): readonly number[] {
  cpus ??= readPresentCpus()
  return cpus
}

let cpus: readonly number[] | undefined

function readPresentCpus(): number[] {
  const text = readIfThere('/sys/devices/system/cpu/present')?.trim() ?? ''
  return text.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number)
    if (first === undefined || Number.isNaN(first)) return []
    return Array.from({ length: (last ?? first) - first + 1 }, (_, index) => first + index)
  })
}

/** Names of the capabilities this process may use (CapPrm within CapBnd, proc_pid_status(5)). */
export function ownCapabilities(): readonly string[] {
  const status = readIfThere('/proc/self/status') ?? ''
  const field = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`)
  const mask = field('CapPrm') & field('CapBnd')
  return CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n)
}
