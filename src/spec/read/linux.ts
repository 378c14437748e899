import type {
  MemoryPolicyFlag,
  MemoryPolicyMode,
  NamespaceType,
  OciIntelRdt,
  OciLinux,
  OciMemoryPolicy,
} from '../../model/config.ts'
import { checkSysctls } from '../../security/sysctl.ts'
import { cpuList } from './cpu-list.ts'
import { devices, netDevices } from './devices.ts'
import { mappings, namespaces, timeOffsets } from './namespaces.ts'
import { invalid, type Place, shown, under } from './place.ts'
import { checkResources, resources } from './resources.ts'
import { seccomp } from './seccomp.ts'
import {
  absolutePath,
  asked,
  boolean,
  checked,
  dictionary,
  list,
  object,
  oneOf,
  optional,
  type Read,
  required,
  text,
  unlessEmpty,
} from './vocabulary.ts'

/** The specification has four; docker writes the recursive ones of mount(8), and means the root's own mount too. */
const PROPAGATIONS = ['private', 'shared', 'slave', 'unbindable'].flatMap((name) => [name, `r${name}`])

type Personality = NonNullable<OciLinux['personality']>
const personality: Read<Personality> = object<Personality>(
  { domain: required(oneOf(['LINUX', 'LINUX32'], 'personality')) },
  {
    flags: (value, at) => {
      if (list(text)(value, at).length > 0) throw invalid(at, 'the specification has no flag yet')
    },
  },
)

const line: Read<string> = checked(text, (value, at) => {
  if (value.includes('\n')) throw invalid(at, 'more than one line')
})

const intelRdt: Read<OciIntelRdt> = object<OciIntelRdt>({
  closID: optional(
    unlessEmpty(
      checked(text, (id, at) => {
        if (id !== '/' && (id.includes('/') || id === '.' || id === '..')) {
          throw invalid(at, `${shown(id)} is not the name of a directory`)
        }
      }),
    ),
  ),
  schemata: optional(list(line)),
  l3CacheSchema: optional(unlessEmpty(text)),
  memBwSchema: optional(
    unlessEmpty(
      checked(line, (schema, at) => {
        if (!schema.startsWith('MB:')) throw invalid(at, `${shown(schema)} does not begin with MB:`)
      }),
    ),
  ),
  enableMonitoring: optional(boolean),
  enableCMT: optional(boolean),
  enableMBM: optional(boolean),
})

/** With whether a mode takes nodes (set_mempolicy(2)); undefined: it may. */
export const MEMORY_MODES: Readonly<Record<MemoryPolicyMode, boolean | undefined>> = {
  MPOL_DEFAULT: false,
  MPOL_PREFERRED: undefined,
  MPOL_BIND: true,
  MPOL_INTERLEAVE: true,
  MPOL_LOCAL: false,
  MPOL_PREFERRED_MANY: true,
  MPOL_WEIGHTED_INTERLEAVE: true,
}
export const MEMORY_FLAGS = [
  'MPOL_F_NUMA_BALANCING',
  'MPOL_F_RELATIVE_NODES',
  'MPOL_F_STATIC_NODES',
] as const satisfies readonly MemoryPolicyFlag[]

const memoryPolicy: Read<OciMemoryPolicy> = checked(
  object<OciMemoryPolicy>({
    mode: required(oneOf(Object.keys(MEMORY_MODES) as MemoryPolicyMode[], 'memory policy')),
    nodes: optional(unlessEmpty(cpuList)),
    flags: optional(list(oneOf(MEMORY_FLAGS, 'flag'))),
  }),
  ({ mode, nodes, flags = [] }, at) => {
    if (MEMORY_MODES[mode] === true && nodes === undefined) throw invalid(under(at, 'nodes'), `${mode} needs some`)
    if (MEMORY_MODES[mode] === false && nodes !== undefined) throw invalid(under(at, 'nodes'), `${mode} has none`)
    if (flags.includes('MPOL_F_RELATIVE_NODES') && flags.includes('MPOL_F_STATIC_NODES')) {
      throw invalid(under(at, 'flags'), 'MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other')
    }
  },
)

const paths = optional(list(absolutePath))

/** `linux` of config.json (config-linux.md), with what its parts ask of each other. */
export const linux: Read<OciLinux> = checked(
  object<OciLinux>({
    namespaces: optional(namespaces),
    uidMappings: optional(mappings),
    gidMappings: optional(mappings),
    timeOffsets: optional(timeOffsets),
    devices: optional(devices),
    netDevices: optional(netDevices),
    cgroupsPath: optional(unlessEmpty(text)),
    resources: optional(resources),
    sysctl: optional(dictionary(text)),
    seccomp: optional(seccomp),
    rootfsPropagation: optional(unlessEmpty(oneOf(PROPAGATIONS, 'propagation'))),
    maskedPaths: paths,
    readonlyPaths: paths,
    mountLabel: optional(unlessEmpty(text)),
    personality: optional(personality),
    intelRdt: optional(intelRdt),
    memoryPolicy: optional(memoryPolicy),
  }),
  checkLinux,
)

function checkLinux(all: OciLinux, at: Place): void {
  checkIds(all, at)
  const own = namespaceTypes(all)
  const time = all.namespaces?.find(({ type }) => type === 'time')
  if (Object.keys(all.timeOffsets ?? {}).length > 0 && (time === undefined || time.path !== undefined)) {
    throw invalid(under(at, 'timeOffsets'), 'there is no new time namespace in linux.namespaces')
  }
  if (Object.keys(all.netDevices ?? {}).length > 0 && !own.includes('network')) {
    throw invalid(under(at, 'netDevices'), 'there is no network namespace in linux.namespaces')
  }
  for (const [key, value] of Object.entries(all.sysctl ?? {})) {
    const place = under(under(at, 'sysctl'), key)
    asked(place, () => checkSysctls({ [key]: value }, own), `sysctl ${JSON.stringify(key)}: `)
  }
  if (all.resources !== undefined) checkResources(all.resources, under(at, 'resources'))
}

/** A new user namespace without mappings passes: crun's `spec --rootless` writes it, and means the caller's own ids. */
function checkIds(all: OciLinux, at: Place): void {
  if (namespaceTypes(all).includes('user')) return
  for (const key of ['uidMappings', 'gidMappings'] as const) {
    if ((all[key]?.length ?? 0) === 0) continue
    throw invalid(under(at, key), 'there is no user namespace in linux.namespaces')
  }
}

/** The types of namespaces that are the container's own, new or joined. */
export function namespaceTypes({ namespaces: all = [] }: OciLinux): NamespaceType[] {
  return all.map(({ type }) => type)
}
