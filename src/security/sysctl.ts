import { closest } from '../model/closest.ts'
import type { NamespaceType } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'

/** A kernel setting of a container: what is written to which file below /proc/sys, in one write. */
export interface SysctlWrite {
  /** As the user wrote it, e.g. `net.ipv4.ip_forward`. */
  readonly key: string
  /** Relative to /proc/sys, e.g. `net/ipv4/ip_forward`. */
  readonly path: string
  readonly value: string
}

/** Settings the kernel keeps once a namespace; every other one would change the host (ipc(7), uts_namespaces(7)). */
const NAMESPACED: ReadonlyMap<string, NamespaceType> = new Map([
  ...[
    'kernel.msgmax',
    'kernel.msgmnb',
    'kernel.msgmni',
    'kernel.msg_next_id',
    'kernel.sem',
    'kernel.sem_next_id',
    'kernel.shmall',
    'kernel.shmmax',
    'kernel.shmmni',
    'kernel.shm_rmid_forced',
    'kernel.shm_next_id',
    'kernel.auto_msgmni',
    'fs.mqueue.queues_max',
    'fs.mqueue.msg_max',
    'fs.mqueue.msgsize_max',
    'fs.mqueue.msg_default',
    'fs.mqueue.msgsize_default',
  ].map((key) => [key, 'ipc'] as const),
  ...['kernel.hostname', 'kernel.domainname'].map((key) => [key, 'uts'] as const),
])

/** One component of a net.* key; an interface name may hold more than a setting's name does. */
const COMPONENT = /^[A-Za-z0-9_@:-][A-Za-z0-9_@:.-]*$/
const VALUE = /^[\x20-\x7e\t]*$/
/** proc(5) takes at most a page in one write. */
const VALUE_LIMIT = 4095

/**
 * The writes for `sysctls` of a container that has `privateNamespaces` of its own.
 * Throws INVALID_CONFIG for a key that is not namespaced, whose namespace is the host's, or a value with control
 * characters. The key is matched exactly and each value is written alone (CVE-2022-0811 smuggled a second setting).
 */
export function checkSysctls(
  sysctls: Readonly<Record<string, string>>,
  privateNamespaces: readonly NamespaceType[],
): SysctlWrite[] {
  return Object.entries(sysctls).map(([key, value]) => {
    const path = sysctlPath(key)
    const namespace = path.startsWith('net/') ? 'network' : NAMESPACED.get(path.replaceAll('/', '.'))
    if (namespace === undefined) throw notNamespaced(key)
    if (!privateNamespaces.includes(namespace)) {
      throw invalid(key, `it would change the host, whose ${namespace} namespace the container shares`)
    }
    if (!VALUE.test(value) || value.length > VALUE_LIMIT)
      throw invalid(key, 'its value is no single line of plain text')
    return { key, path, value }
  })
}

/**
 * The path below /proc/sys: dots and slashes change places when the first separator is a dot (sysctl(8)), so that
 * `net.ipv4.conf.eth0/1.forwarding` names the interface `eth0.1`.
 */
function sysctlPath(key: string): string {
  const separator = /[./]/.exec(key)?.[0]
  const path = separator === '.' ? key.replace(/[./]/g, (found) => (found === '.' ? '/' : '.')) : key
  const components = path.split('/')
  if (components.length < 2 || !components.every((component) => COMPONENT.test(component))) {
    throw invalid(key, 'not the name of a kernel setting')
  }
  return path
}

function notNamespaced(key: string): TscrunError {
  const near = closest(key, NAMESPACED.keys())
  const reason = 'not kept per namespace, so it would change the host'
  return near === undefined ? invalid(key, reason) : invalid(key, reason, `did you mean ${near}`)
}

function invalid(key: string, reason: string, hint?: string): TscrunError {
  const details = hint === undefined ? { subject: key } : { subject: key, hint }
  return new TscrunError('INVALID_CONFIG', `sysctl ${JSON.stringify(key)}: ${reason}`, details)
}
