import { mkdirSync, readdirSync, realpathSync, statSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import type { OciDevice } from '../../model/config.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { HostFacts } from '../../model/facts.ts'
import type { BindMount, DeviceOption, RunOptions } from '../../model/run-options.ts'
import { canIdmap, filesystemOf } from '../../overlayfs/support.ts'

/** Major and minor of a device file (Linux's 64-bit dev_t). Throws USAGE for anything else. */
export function deviceNumbers(path: string): { major: number; minor: number } {
  const info = statSync(path, { throwIfNoEntry: false })
  if (info === undefined || !(info.isBlockDevice() || info.isCharacterDevice())) {
    throw new TscrunError('USAGE', `device ${path}: ${info === undefined ? 'no such file' : 'not a device'}`, {
      subject: path,
      hint: 'give a device of the host, e.g. /dev/vda',
    })
  }
  return numbersOf(info)
}

function numbersOf(info: Stats): { major: number; minor: number } {
  const device = BigInt(info.rdev)
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  }
}

/**
 * The devices a container gets beside the default ones: all of the host's with `--privileged`, of a directory all that lie
 * below it. Where two have one path the later one counts.
 */
export function askedDevices({ devices = [], privileged = false }: RunOptions): DeviceOption[] {
  const hosts = privileged ? devicesBelow({ hostPath: '/dev', containerPath: '/dev', access: 'rwm' }) : []
  const all = [...hosts, ...devices.flatMap((device) => (isDirectory(device.hostPath) ? listed(device) : [device]))]
  return [...new Map(all.map((device) => [device.containerPath, device])).values()]
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function listed(directory: DeviceOption): DeviceOption[] {
  const found = devicesBelow(directory)
  if (found.length > 0) return found
  throw new TscrunError('USAGE', `device ${directory.hostPath}: a directory without devices`, {
    subject: directory.hostPath,
    hint: 'give a device of the host, e.g. /dev/vda, or a directory of them, e.g. /dev/dri',
  })
}

export function toOciDevice(device: DeviceOption): OciDevice {
  const { major, minor } = deviceNumbers(device.hostPath)
  const info = statSync(device.hostPath)
  if (!device.containerPath.startsWith('/dev/')) {
    throw new TscrunError('USAGE', `--device ${device.hostPath}:${device.containerPath}: devices go below /dev`, {
      subject: device.containerPath,
      hint: `write --device ${device.hostPath}:/dev/NAME`,
    })
  }
  return {
    type: info.isBlockDevice() ? 'b' : 'c',
    path: device.containerPath,
    major,
    minor,
    fileMode: info.mode & 0o777,
    uid: 0,
    gid: 0,
  }
}

/** Made per container, so never taken from the host. */
const OWN = new Set([
  'pts',
  'shm',
  'mqueue',
  'console',
  'ptmx',
  'fd',
  'stdin',
  'stdout',
  'stderr',
  'null',
  'zero',
  'full',
  'random',
  'urandom',
  'tty',
])

function devicesBelow({ hostPath, containerPath, access }: DeviceOption): DeviceOption[] {
  return readdirSync(hostPath, { withFileTypes: true }).flatMap((entry) => {
    if (hostPath === '/dev' && OWN.has(entry.name)) return []
    const below = { hostPath: join(hostPath, entry.name), containerPath: join(containerPath, entry.name), access }
    if (entry.isDirectory()) return devicesBelow(below)
    return entry.isBlockDevice() || entry.isCharacterDevice() ? [below] : []
  })
}

/** Volumes with their sources resolved and made where that was asked for; every one must be able to shift owners. */
export function bindSources(
  volumes: readonly BindMount[],
  shifted: boolean,
  facts: HostFacts,
  dryRun: boolean,
): BindMount[] {
  return volumes.map((volume) => {
    const source = realSource(volume, dryRun)
    if (shifted) {
      const filesystem = filesystemOf(source)
      if (!canIdmap(filesystem, facts.kernel)) {
        throw new TscrunError(
          'USERNS_UNAVAILABLE',
          `volume ${source}: its filesystem (${filesystem}) cannot be id-mapped, so its owners would be lost`,
          {
            subject: source,
            hint: 'add --userns=host, or use a directory on ext4, xfs or btrfs',
          },
        )
      }
    }
    return { ...volume, source }
  })
}

/** Where it really lies; makes it if that was asked for. Throws USAGE. */
export function realSource(volume: BindMount, dryRun: boolean): string {
  try {
    return realpathSync(volume.source)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw volumeError(volume.source, error)
  }
  if (volume.createSource !== true) {
    throw new TscrunError('USAGE', `volume ${volume.source}: no such file or directory on the host`, {
      subject: volume.source,
      hint: 'make it first, or use -v, which makes a directory',
    })
  }
  if (dryRun) return volume.source
  try {
    mkdirSync(volume.source, { recursive: true, mode: 0o755 })
  } catch (error) {
    throw volumeError(volume.source, error)
  }
  return realpathSync(volume.source)
}

const SOURCE_HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'a symbolic link in it leads nowhere',
  ENOTDIR: 'a part of the path is no directory',
  EROFS: 'it cannot be made there: give a directory that is there',
}

function volumeError(source: string, error: unknown): unknown {
  const errno = errnoOf(error)
  if (errno === undefined) return error
  const hint = SOURCE_HINTS[errno]
  return new TscrunError('USAGE', `volume ${source}: ${errno}`, {
    errno,
    subject: source,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}
