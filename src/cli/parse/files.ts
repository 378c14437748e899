import type { DeviceOption } from '../../model/run-options.ts'
import { badFlag, notYet } from '../errors.ts'
import { absolutePath, containerPath } from './paths.ts'

/** `/dev/a[:/dev/b][:rwm]`. Throws USAGE. */
export function parseDevice(text: string): DeviceOption {
  const bad = (reason: string, hint?: string) => badFlag('device', text, reason, hint)
  const parts = text.split(':')
  const hostPath = parts[0] ?? ''
  if (!hostPath.startsWith('/') && /^[a-z0-9.-]+\/[a-z0-9_-]+=/i.test(hostPath))
    throw notYet('device', text, 'CDI names; use device files')
  if (!hostPath.startsWith('/')) throw bad('the path of a device begins with /', 'e.g. /dev/fuse')
  if (parts.length > 3) throw bad('not HOST[:CONTAINER][:rwm]')
  const twoWithAccess = parts.length === 2 && /^[rwm]+$/.test(parts[1] ?? '')
  const access = (twoWithAccess ? parts[1] : parts[2]) ?? 'rwm'
  const inside = (twoWithAccess ? undefined : parts[1]) ?? hostPath
  if (!/^[rwm]{1,3}$/.test(access) || new Set(access).size !== access.length)
    throw bad(`access ${JSON.stringify(access)}: any of r, w, m, once each`)
  return { hostPath: absolutePath(hostPath, '/'), containerPath: containerPath('device', text, inside), access }
}

/** `c 189:* rwm` (the kernel's devices cgroup notation). Throws USAGE. */
export function parseDeviceRule(text: string): string {
  if (/^(?:a|[acb] (?:[0-9]{1,7}|\*):(?:[0-9]{1,7}|\*) [rwm]{1,3})$/.test(text)) return text
  throw badFlag('device-cgroup-rule', text, 'not TYPE MAJOR:MINOR ACCESS', "e.g. 'c 189:* rwm'")
}

/** `PATH[:O]`. Throws USAGE. */
export function parseRootfs(text: string, cwd: string): { readonly path: string; readonly overlay: boolean } {
  const overlay = text.endsWith(':O')
  const path = overlay ? text.slice(0, -2) : text
  if (path === '')
    throw badFlag('rootfs', text, 'the directory is missing', 'e.g. /:O for this machine under a throw-away layer')
  if (path.includes(':')) throw badFlag('rootfs', text, 'only the option :O is supported yet')
  return { path: absolutePath(path, cwd), overlay }
}
