import { closest } from '../model/closest.ts'
import { TscrunError } from '../model/errors.ts'

/** Every capability by number, 0 to 40 (linux/capability.h; the last one came with kernel 5.9). */
export const CAPABILITIES: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`)

/** What a container's root may do without being asked: the 14 that docker grants. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

const NUMBERS: ReadonlyMap<string, number> = new Map(CAPABILITIES.map((name, number) => [name, number]))

/** The number of `CAP_CHOWN` and its kind. Throws INVALID_CONFIG with a suggestion for any other name. */
export function capabilityNumber(name: string): number {
  const number = NUMBERS.get(name)
  if (number === undefined) throw unknownCapability(name)
  return number
}

/**
 * `CAP_NET_ADMIN` from what people write (`NET_ADMIN`, `net_admin`, `cap_net_admin`), or `ALL`.
 * Throws INVALID_CONFIG with a suggestion for a name the kernel does not have.
 */
export function parseCapability(text: string): string {
  const upper = text.trim().toUpperCase()
  if (upper === 'ALL') return 'ALL'
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (!NUMBERS.has(name)) throw unknownCapability(text)
  return name
}

function unknownCapability(text: string): TscrunError {
  const upper = text.trim().toUpperCase()
  const near = closest(upper.startsWith('CAP_') ? upper : `CAP_${upper}`, CAPABILITIES)
  return new TscrunError('INVALID_CONFIG', `capability ${JSON.stringify(text)}: no such capability`, {
    subject: text,
    hint: near === undefined ? 'capabilities(7) lists them' : `did you mean ${near.slice('CAP_'.length)}`,
  })
}

/**
 * The capabilities left when `add` and `drop` (any notation, `ALL` too) are applied to `defaults`, ordered by number.
 * `drop ALL` empties the set before anything is added; `add ALL` is everything but what is dropped. Asking for and
 * against the same one is INVALID_CONFIG, since engines disagree about who wins.
 */
export function addAndDrop(defaults: readonly string[], add: readonly string[], drop: readonly string[]): string[] {
  const added = new Set(add.map(parseCapability))
  const dropped = new Set(drop.map(parseCapability))
  for (const name of added) {
    if (dropped.has(name)) {
      throw new TscrunError('INVALID_CONFIG', `capability ${name}: both added and dropped`, { subject: name })
    }
  }
  const base = added.has('ALL') ? CAPABILITIES : dropped.has('ALL') ? [] : defaults
  const kept = new Set([...base.filter((name) => !dropped.has(name)), ...added])
  return CAPABILITIES.filter((name) => kept.has(name))
}

/** The set as the kernel's bit mask: bit n is capability n, as `CapEff` of /proc/PID/status prints it. */
export function capabilityMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(capabilityNumber(name))), 0n)
}
