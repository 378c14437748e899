import { existsSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { OciConfig, OciIntelRdt } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { cacheLines, RESCTRL, resctrlMonitor, resctrlPath } from '../plan/outside.ts'

/**
 * The directory that `create` makes for linux.intelRdt, and `delete` removes: the group, with what is in it, or what
 * counts the container in a group that was there before. Undefined where nothing is made.
 */
export function resctrlGroup(id: string, { linux }: OciConfig): string | undefined {
  const { intelRdt } = linux ?? {}
  if (intelRdt === undefined) return undefined
  const group = join(RESCTRL, resctrlPath(id, intelRdt))
  if (!existsSync(group)) return group
  const monitor = resctrlMonitor(id, intelRdt)
  return monitor === undefined ? undefined : join(group, monitor)
}

/** Its processes go back to the root group. */
export function removeResctrlGroup(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

/**
 * A named group that others may be in keeps what it has: what config.json says of its cache and memory bandwidth must be
 * that already (config-linux.md, IntelRdt). Throws INVALID_CONFIG.
 */
export function checkNamedGroup(rdt: OciIntelRdt, id: string): void {
  const { closID, memBwSchema = '' } = rdt
  const file = join(RESCTRL, resctrlPath(id, rdt), 'schemata')
  if (closID === undefined || !existsSync(file)) return
  const inForce = sharesIn(readFileSync(file, 'latin1'))
  for (const [member, text] of Object.entries({ l3CacheSchema: cacheLines(rdt).join('\n'), memBwSchema })) {
    const other = [...sharesIn(text)].find(([share, value]) => inForce.get(share) !== value)
    if (other === undefined) continue
    const place = `linux.intelRdt.${member}`
    const reason = `the group ${closID} is there already, with ${inForce.has(other[0]) ? 'another' : 'no'} share`
    throw new TscrunError('INVALID_CONFIG', `config.json: ${place}: ${reason} for ${other[0]}`, {
      subject: place,
      hint: `cat ${file} shows what it has; a group is shared as it is`,
    })
  }
}

/** `L3:0=0ff;1=f` as `L3:0` is 255 and `L3:1` is 15: the kernel writes masks with zeros in front, and lines with blanks. */
function sharesIn(schemata: string): Map<string, string> {
  const shares = new Map<string, string>()
  for (const line of schemata.split('\n')) {
    const [, resource = '', domains = ''] = /^\s*([^:]+):(.*)$/.exec(line) ?? []
    for (const domain of domains.split(';')) {
      const [name = '', value = ''] = domain.split('=').map((part) => part.trim())
      const number = resource.startsWith('L') ? Number.parseInt(value, 16) : Number(value)
      if (name !== '') shares.set(`${resource}:${Number(name)}`, Number.isNaN(number) ? value : String(number))
    }
  }
  return shares
}
