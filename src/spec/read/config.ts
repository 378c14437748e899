import type { OciConfig } from '../../model/config.ts'
import { hooks } from './hooks.ts'
import { linux, namespaceTypes } from './linux.ts'
import { checkIdmaps, mounts } from './mounts.ts'
import { invalid, type Place, shown, under } from './place.ts'
import { containerProcess } from './processes.ts'
import {
  anyText,
  boolean,
  checked,
  dictionary,
  filledText,
  object,
  optional,
  type Read,
  required,
  text,
  unlessEmpty,
} from './vocabulary.ts'

/** https://semver.org, 2.0.0. */
const SEMVER =
  /^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/

const version: Read<string> = checked(text, (value, at) => {
  const major = SEMVER.exec(value)?.[1]
  if (major === undefined) throw invalid(at, `${shown(value)} is not a version such as 1.2.0`)
  if (major !== '1') throw invalid(at, `${shown(value)} is not supported, only 1.x is`)
})

/** __NEW_UTS_LEN. */
const utsName: Read<string> = checked(text, (name, at) => {
  if (Buffer.byteLength(name) > 64) throw invalid(at, `${Buffer.byteLength(name)} bytes, the kernel takes 64`)
})

const root = object<NonNullable<OciConfig['root']>>({ path: required(filledText), readonly: optional(boolean) })

/** What the specification leaves open on other systems and Linux needs. */
type LinuxConfig = OciConfig & Required<Pick<OciConfig, 'root'>>

/** A whole config.json (config.md). Sections for other systems (`windows`, `vm` and so on) are ignored. */
export const config: Read<OciConfig> = checked(
  object<LinuxConfig>({
    ociVersion: required(version),
    root: required(root),
    hostname: optional(unlessEmpty(utsName)),
    domainname: optional(unlessEmpty(utsName)),
    process: optional(containerProcess),
    hooks: optional(hooks),
    mounts: optional(mounts),
    annotations: optional(dictionary(anyText)),
    linux: optional(linux),
  }),
  checkConfig,
)

function checkConfig(all: OciConfig, at: Place): void {
  const own = namespaceTypes(all.linux ?? {})
  for (const key of ['hostname', 'domainname'] as const) {
    if (all[key] === undefined || own.includes('uts')) continue
    throw invalid(under(at, key), "it would change the host's, for there is no uts namespace in linux.namespaces")
  }
  checkIdmaps(all.mounts ?? [], own.includes('user'), under(at, 'mounts'))
}
