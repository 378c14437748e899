import type { OciSeccomp, OciSyscallArg, OciSyscallRule } from '../../model/config.ts'
import { TscrunError } from '../../model/errors.ts'
import { type HostArch, OCI_ARCH } from './arches.ts'

type Json = Readonly<Record<string, unknown>>

/** Go's names, which docker's profiles use for processors. */
const GO_ARCH = { x64: 'amd64', arm64: 'arm64' } as const satisfies Record<HostArch, string>

/**
 * A profile in docker's JSON format (`--security-opt seccomp=FILE`; parsed JSON, as podman's seccomp.json too), for a
 * container with `capabilities` (`CAP_...`) on `arch`. `includes`/`excludes` by capability and processor are decided
 * here; `minKernel` always holds where tscrun runs unless it is above 5.14. Throws INVALID_CONFIG in one line.
 */
export function parseDockerProfile(json: unknown, capabilities: readonly string[], arch: HostArch): OciSeccomp {
  const profile = object(json, 'profile')
  const syscalls = list(profile['syscalls'], 'syscalls').map((rule, index) => ({
    rule: object(rule, `syscalls[${index}]`),
    where: `syscalls[${index}]`,
  }))
  const flags = profile['flags']
  const defaultErrnoRet = optionalNumber(profile['defaultErrnoRet'], 'defaultErrnoRet')
  const listenerPath = optionalText(profile['listenerPath'], 'listenerPath')
  const listenerMetadata = optionalText(profile['listenerMetadata'], 'listenerMetadata')
  return {
    defaultAction: text(profile['defaultAction'], 'defaultAction'),
    ...(defaultErrnoRet !== undefined && { defaultErrnoRet }),
    ...(listenerPath !== undefined && { listenerPath }),
    ...(listenerMetadata !== undefined && { listenerMetadata }),
    ...(flags !== undefined && flags !== null && { flags: texts(flags, 'flags') }),
    architectures: architectures(profile, arch),
    syscalls: syscalls
      .filter(({ rule, where }) => applies(rule, where, capabilities, arch))
      .map(({ rule, where }) => readRule(rule, where)),
  }
}

function architectures(profile: Json, arch: HostArch): string[] {
  const plain = texts(profile['architectures'], 'architectures')
  const mapped = list(profile['archMap'], 'archMap')
  if (plain.length > 0 && mapped.length > 0) throw invalid('architectures', 'given beside archMap')
  const own = arch === 'x64' ? OCI_ARCH.x86_64 : OCI_ARCH.aarch64
  if (plain.length > 0) return plain
  const entry = mapped
    .map((item, index) => object(item, `archMap[${index}]`))
    .find((item) => item['architecture'] === own)
  return [own, ...texts(entry?.['subArchitectures'], 'archMap.subArchitectures')]
}

/** Whether the rule is meant for this container on this machine. */
function applies(rule: Json, where: string, capabilities: readonly string[], arch: HostArch): boolean {
  const includes = object(rule['includes'] ?? {}, `${where}.includes`)
  const excludes = object(rule['excludes'] ?? {}, `${where}.excludes`)
  const arches = texts(includes['arches'], `${where}.includes.arches`)
  return (
    texts(includes['caps'], `${where}.includes.caps`).every((name) => capabilities.includes(name)) &&
    !texts(excludes['caps'], `${where}.excludes.caps`).some((name) => capabilities.includes(name)) &&
    (arches.length === 0 || arches.includes(GO_ARCH[arch])) &&
    !texts(excludes['arches'], `${where}.excludes.arches`).includes(GO_ARCH[arch]) &&
    oldEnough(includes['minKernel'], `${where}.includes.minKernel`) &&
    (excludes['minKernel'] === undefined || !oldEnough(excludes['minKernel'], `${where}.excludes.minKernel`))
  )
}

/** True if every kernel that tscrun supports has reached the version. */
function oldEnough(value: unknown, where: string): boolean {
  if (value === undefined) return true
  const match = /^(\d+)\.(\d+)$/.exec(text(value, where))
  if (!match) throw invalid(where, 'not a version such as 4.8')
  const [major, minor] = [Number(match[1]), Number(match[2])]
  return major < 5 || (major === 5 && minor <= 14)
}

function readRule(rule: Json, where: string): OciSyscallRule {
  const single = optionalText(rule['name'], `${where}.name`)
  const names = texts(rule['names'], `${where}.names`)
  if (single !== undefined && names.length > 0) throw invalid(`${where}.name`, 'given beside names')
  if (single === undefined && names.length === 0) throw invalid(`${where}.names`, 'missing')
  const errnoRet = optionalNumber(rule['errnoRet'], `${where}.errnoRet`)
  const args = list(rule['args'], `${where}.args`).map((arg, index) => readArg(arg, `${where}.args[${index}]`))
  return {
    names: single === undefined ? names : [single],
    action: text(rule['action'], `${where}.action`),
    ...(errnoRet !== undefined && { errnoRet }),
    ...(args.length > 0 && { args }),
  }
}

function readArg(json: unknown, where: string): OciSyscallArg {
  const arg = object(json, where)
  const valueTwo = optionalNumber(arg['valueTwo'], `${where}.valueTwo`)
  return {
    index: optionalNumber(arg['index'], `${where}.index`) ?? 0,
    value: optionalNumber(arg['value'], `${where}.value`) ?? 0,
    ...(valueTwo !== undefined && { valueTwo }),
    op: text(arg['op'], `${where}.op`),
  }
}

function object(value: unknown, where: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(where, 'not an object')
  return value as Json
}

/** Go writes an empty list as null. */
function list(value: unknown, where: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalid(where, 'not a list')
  return value
}

function texts(value: unknown, where: string): string[] {
  return list(value, where).map((item) => text(item, where))
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(where, 'not a text')
  return value
}

function optionalText(value: unknown, where: string): string | undefined {
  return value === undefined || value === null || value === '' ? undefined : text(value, where)
}

function optionalNumber(value: unknown, where: string): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number') throw invalid(where, 'not a number')
  return value
}

function invalid(where: string, reason: string): TscrunError {
  const subject = where === 'profile' ? 'seccomp profile' : `seccomp profile ${where}`
  return new TscrunError('INVALID_CONFIG', `${subject}: ${reason}`, { subject: where })
}
