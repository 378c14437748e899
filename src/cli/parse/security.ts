import type { SecurityOptions } from '../../model/run-options.ts'
import { closest } from '../../model/closest.ts'
import { CAPABILITIES } from '../../security/capabilities.ts'
import { badFlag } from '../errors.ts'
import { parseBool } from '../pflag.ts'
import { absolutePath } from './paths.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * docker's and podman's forms: `no-new-privileges`, `no-new-privileges:true`, `no-new-privileges=true`,
 * `seccomp=unconfined|FILE`, `apparmor=NAME`, `label=...`, `mask=/a:/b`, `unmask=ALL|/a:/b`, and each with docker's old
 * `:` in the place of `=`. Throws USAGE.
 */
export function parseSecurityOptions(values: readonly string[], cwd: string): SecurityOptions {
  const security: Mutable<SecurityOptions> = {}
  for (const text of values) applySecurityOption(security, text, cwd)
  return security
}

function applySecurityOption(security: Mutable<SecurityOptions>, text: string, cwd: string): void {
  const bad = (reason: string, hint?: string) => badFlag('security-opt', text, reason, hint)
  const at = text.search(/[=:]/)
  const key = at < 0 ? text : text.slice(0, at)
  const value = at < 0 ? undefined : text.slice(at + 1)
  const needed = (): string => {
    if (value === undefined || value === '') throw bad('the value is missing', `${key}=VALUE`)
    return value
  }
  const paths = (): string[] => {
    const list = needed().split(':')
    const wrong = list.find((path) => !path.startsWith('/'))
    if (wrong !== undefined) throw bad(`not an absolute path: ${JSON.stringify(wrong)}`, 'several are separated by :')
    return list
  }
  if (key === 'no-new-privileges') {
    const on = value === undefined ? true : parseBool(value)
    if (on === undefined) throw bad('neither true nor false')
    security.noNewPrivileges = on
  } else if (key === 'seccomp') {
    const profile = needed()
    // `builtin` and `default` name the filter that is there without the flag.
    if (profile === 'default' || profile === 'builtin') delete security.seccomp
    else security.seccomp = profile === 'unconfined' ? profile : absolutePath(profile, cwd)
  } else if (key === 'apparmor') security.apparmor = needed()
  else if (key === 'label') security.label = [...(security.label ?? []), needed()]
  else if (key === 'mask') security.mask = [...(security.mask ?? []), ...paths()]
  else if (key === 'unmask') {
    security.unmask = [...(security.unmask ?? []), ...(value?.toUpperCase() === 'ALL' ? ['ALL'] : paths())]
  } else if (key === 'systempaths' && value === 'unconfined') security.unmask = [...(security.unmask ?? []), 'ALL']
  else if (key === 'proc-opts' || key === 'writable-cgroups' || key === 'credentialspec') throw bad('not supported yet')
  else throw bad('unknown option', 'no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=')
}

/** `net_admin`, `CAP_NET_ADMIN` -> `CAP_NET_ADMIN`; `all` -> `ALL`. Throws USAGE for any other name. */
export function parseCapabilityFlag(flag: string, text: string): string {
  const upper = text.trim().toUpperCase()
  const name = upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (name === 'ALL' || CAPABILITIES.includes(name)) return name
  const near = closest(name, CAPABILITIES)
  const hint = near === undefined ? 'capabilities(7) lists them' : `did you mean ${near.slice('CAP_'.length)}?`
  throw badFlag(flag, text, 'no such capability', hint)
}
