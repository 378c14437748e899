import type { DoctorCheck } from '../api.ts'
import { canHoldUpper, canIdmap } from '../../overlayfs/support.ts'
import type { HostReport } from './report.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** overlayfs, and what the filesystem of the store can do for it. */
export function storageChecks(report: HostReport): DoctorCheck[] {
  return [overlay(report), space(report), upper(report), idmapped(report)]
}

function overlay({ filesystems, overlayModule, nesting: { inside } }: HostReport): DoctorCheck {
  const name = 'overlayfs'
  if (/\boverlay$/m.test(filesystems)) return { name, result: 'ok', detail: 'in this kernel' }
  if (overlayModule) return { name, result: 'ok', detail: 'a module, loaded when it is first used' }
  const remedy =
    inside === undefined
      ? 'modprobe overlay (CONFIG_OVERLAY_FS)'
      : 'on the host, outside of this container: modprobe overlay'
  return { name, result: 'fail', detail: 'this kernel has none', remedy }
}

function space({ store: { path, filesystem, freeBytes, files, readonly } }: HostReport): DoctorCheck {
  const name = 'store'
  const free = freeBytes >= GIB ? `${(freeBytes / GIB).toFixed(1)} GiB` : `${Math.floor(freeBytes / MIB)} MiB`
  const detail = `${path} on ${filesystem}, ${free} free`
  const remedy = 'tscrun rmi what is not needed, or put the store elsewhere: --root DIR'
  if (readonly)
    return { name, result: 'fail', detail: `${detail}: read-only`, remedy: 'put the store elsewhere: --root DIR' }
  if (files.total > 0 && files.free === 0) return { name, result: 'fail', detail: `${detail}: no inodes left`, remedy }
  if (freeBytes < 64 * MIB) return { name, result: 'fail', detail, remedy }
  if (freeBytes < GIB) return { name, result: 'warn', detail, remedy }
  return { name, result: 'ok', detail }
}

function upper({ store: { path, filesystem }, nesting: { inside } }: HostReport): DoctorCheck {
  const name = 'writable layer'
  if (canHoldUpper(filesystem)) return { name, result: 'ok', detail: `on ${filesystem}, beside the layers` }
  return {
    name,
    result: 'warn',
    detail: `${filesystem} cannot hold it: what containers write is kept in memory`,
    remedy: inside === undefined ? elsewhere() : `give the container around tscrun a volume at ${path}`,
  }
}

function elsewhere(): string {
  return 'put the store on ext4, xfs or btrfs: --root DIR'
}

function idmapped({ facts, store: { path, filesystem, idmapped }, nesting: { inside } }: HostReport): DoctorCheck {
  const name = 'id-mapped mounts'
  const works = idmapped?.ok ?? canIdmap(filesystem, facts.kernel)
  if (works)
    return {
      name,
      result: 'ok',
      detail: `of ${filesystem}${idmapped === undefined ? ' (by its name: trying needs root)' : ''}`,
    }
  const reason = idmapped === undefined || idmapped.ok ? '' : ` (${idmapped.errno})`
  return {
    name,
    result: 'warn',
    detail: `${filesystem} cannot be shown with other owners${reason}: images run in the host's user namespace`,
    remedy: inside === undefined ? elsewhere() : `give the container around tscrun a volume at ${path}`,
  }
}
