import type { OciDevice, OciDeviceRule, OciLinux } from '../../model/config.ts'
import { invalid, type Place, shown, under } from './place.ts'
import {
  absolutePath,
  boolean,
  checked,
  dictionary,
  integer,
  list,
  mapped,
  object,
  oneOf,
  optional,
  type Read,
  required,
  text,
  unlessEmpty,
} from './vocabulary.ts'

/** The kernel's numbers have 12 and 20 bits (linux/kdev_t.h). */
export const MAX_MAJOR = 2 ** 12 - 1
export const MAX_MINOR = 2 ** 20 - 1

const id = integer({ highest: 2 ** 32 - 2 })

/** Permissions; older engines put the kind of file in front, which `type` says already. */
const fileMode: Read<number> = mapped(integer({ highest: 0o177_777 }), (mode) => mode & 0o7777)

const device: Read<OciDevice> = checked(
  object<OciDevice>({
    type: required(oneOf(['c', 'b', 'u', 'p'], 'device type')),
    path: required(absolutePath),
    major: optional(integer({ highest: MAX_MAJOR })),
    minor: optional(integer({ highest: MAX_MINOR })),
    fileMode: optional(fileMode),
    uid: optional(id),
    gid: optional(id),
  }),
  ({ type, major, minor }, at) => {
    if (type === 'p') return
    if (major === undefined) throw invalid(under(at, 'major'), 'missing; only a fifo (type p) has none')
    if (minor === undefined) throw invalid(under(at, 'minor'), 'missing; only a fifo (type p) has none')
  },
)

/** `linux.devices` (config-linux.md, Devices). */
export const devices: Read<OciDevice[]> = list(device)

/** Absent is a wildcard, and so is -1, as runc writes it. */
function wildcard(highest: number): Read<number | undefined> {
  return mapped(integer({ lowest: -1, highest }), (value) => (value === -1 ? undefined : value))
}

const access: Read<string> = checked(text, (letters, at) => {
  if (!/^[rwm]{1,3}$/.test(letters)) throw invalid(at, `${shown(letters)} is not made of r, w and m`)
})

/** `linux.resources.devices` (config-linux.md, Allowed Device list). */
export const deviceRules: Read<OciDeviceRule[]> = list(
  object<OciDeviceRule>({
    allow: required(boolean),
    type: optional(unlessEmpty(oneOf(['a', 'c', 'b'], 'kind of device'))),
    major: optional(wildcard(MAX_MAJOR)),
    minor: optional(wildcard(MAX_MINOR)),
    access: optional(unlessEmpty(access)),
  }),
)

type NetDevices = NonNullable<OciLinux['netDevices']>

/** dev_valid_name() of the kernel. */
function checkInterface(name: string, at: Place): void {
  if (!/^[^\s/:\0]{1,15}$/.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > 15) {
    throw invalid(at, `${shown(name)} is not the name of a network interface`)
  }
}

const netDevice = object<NetDevices[string]>({ name: optional(unlessEmpty(checked(text, checkInterface))) })

/** `linux.netDevices` (config-linux.md, Network Devices): no two may get the same name. */
export const netDevices: Read<NetDevices> = checked(dictionary(netDevice, checkInterface), (all, at) => {
  const taken = new Set<string>()
  for (const [host, { name = host }] of Object.entries(all)) {
    if (taken.has(name)) throw invalid(under(under(at, host), 'name'), `two interfaces are to be called ${shown(name)}`)
    if (!name.includes('%d')) taken.add(name)
  }
})
