import { existsSync, fstatSync, lstatSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { withHostsCgroups } from '../cgroups/host-mount.ts'
import type { IdMapping, OciConfig, OciProcess } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { HostFacts } from '../model/facts.ts'
import type { LaunchSpec, OciLaunch } from '../model/launch.ts'
import { readConfig } from '../spec/read-config.ts'
import { RESCTRL } from '../plan/outside.ts'
import { compileSeccomp } from '../security/seccomp/compile.ts'
import { hardLimit } from '../syscall/limits.ts'
import { hostFacts, readIfThere } from './host.ts'
import { checkNamedGroup } from './resctrl.ts'

/** A directory with config.json and a root filesystem (bundle.md). */
export interface Bundle {
  /** Absolute. */
  readonly path: string
  readonly config: OciConfig
  /** config.json as it is. */
  readonly text: string
  /** Absolute directory of the root filesystem. */
  readonly rootfs: string
}

/** Reads and checks a bundle. Throws INVALID_CONFIG naming the place in config.json. */
export function readBundle(directory: string, configFile = 'config.json'): Bundle {
  const path = resolve(directory)
  const file = resolve(path, configFile)
  const text = readConfigText(file)
  const config = withAbsoluteSources(readConfig(text), path)
  const rootfs = resolve(path, config.root?.path ?? 'rootfs')
  // Not through a link: whoever owns the link could lead elsewhere what is asked as root.
  if (lstatSync(rootfs, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new TscrunError('INVALID_CONFIG', `config.json: root.path: ${rootfs} is not a directory`, {
      subject: 'root.path',
      hint: 'it is relative to the bundle',
    })
  }
  return { path, config, text, rootfs }
}

/** What is bound is named absolutely or from the bundle (config.md, Mounts). */
function withAbsoluteSources(config: OciConfig, bundle: string): OciConfig {
  const mounts = config.mounts?.map((mount) => {
    const { type, source, options = [] } = mount
    const bind = type === 'bind' || options.includes('bind') || options.includes('rbind')
    return bind && source !== undefined ? { ...mount, source: resolve(bundle, source) } : mount
  })
  return mounts === undefined ? config : { ...config, mounts }
}

function readConfigText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new TscrunError(
      'INVALID_CONFIG',
      `open ${file}: ${errno === 'ENOENT' ? 'no such file or directory' : errno}`,
      {
        errno,
        subject: file,
        hint: 'a bundle is a directory with a config.json: give it by --bundle',
        cause: error,
      },
    )
  }
}

/** All that the plan of a bundle is computed from, its cgroup excepted. */
export function launchSpec(
  id: string,
  directory: string,
  bundle: Bundle,
  stdio: LaunchSpec['stdio'],
  oci: OciLaunch,
): LaunchSpec {
  const { rootfs } = bundle
  const facts = hostFacts()
  const config = withHostsCgroups(withJoinedIds(withLimit(bundle.config)), facts.cgroup)
  checkHost(id, config, facts)
  const seccomp = config.linux?.seccomp
  return {
    id,
    config,
    directory,
    rootfs: { kind: 'directory', path: rootfs, idmap: false },
    files: [],
    stdio,
    ...(seccomp === undefined ? {} : { seccomp: compileSeccomp(seccomp, process.arch === 'arm64' ? 'arm64' : 'x64') }),
    init: false,
    kernel: facts.kernel,
    oci: { ...oci, bundle: bundle.path },
  }
}

const NOFILE = 7

/** Node has raised its own soft limit on open files: without a word about it the container has its caller's (launcher.c). */
export function withCallersLimit(command: OciProcess): OciProcess {
  const soft = Number(process.env['TSCRUN_NOFILE'] ?? Number.NaN)
  const { rlimits = [] } = command
  if (Number.isNaN(soft) || rlimits.some(({ type }) => type === 'RLIMIT_NOFILE')) return command
  const hard = hardLimit(NOFILE)
  return { ...command, rlimits: [...rlimits, { type: 'RLIMIT_NOFILE', soft: Math.min(soft, hard), hard }] }
}

function withLimit(config: OciConfig): OciConfig {
  return config.process === undefined ? config : { ...config, process: withCallersLimit(config.process) }
}

/** A user namespace that is joined has its mappings already: those of a process in it, where the path is one's. */
function withJoinedIds(config: OciConfig): OciConfig {
  const { namespaces = [], uidMappings } = config.linux ?? {}
  const path = namespaces.find(({ type }) => type === 'user')?.path
  const process = /^(\/proc\/(?:\d+|self))\/ns\/user$/.exec(path ?? '')?.[1]
  if (process === undefined || uidMappings !== undefined) return config
  const maps = { uidMappings: mappingsIn(`${process}/uid_map`), gidMappings: mappingsIn(`${process}/gid_map`) }
  return { ...config, linux: { ...config.linux, ...maps } }
}

function mappingsIn(file: string): IdMapping[] {
  const lines = (readIfThere(file) ?? '').split('\n').filter((line) => line !== '')
  return lines.map((line) => {
    const [containerID = 0, hostID = 0, size = 0] = line.trim().split(/\s+/).map(Number)
    return { containerID, hostID, size }
  })
}

/** What config.json asks for and this host has not is refused, never left out. Throws INVALID_CONFIG. */
function checkHost(id: string, { process: command, linux }: OciConfig, facts: HostFacts): void {
  const refuse = (place: string, reason: string, hint: string): TscrunError =>
    new TscrunError('INVALID_CONFIG', `config.json: ${place}: ${reason}`, { subject: place, hint })
  const { apparmorProfile, selinuxLabel } = command ?? {}
  if (apparmorProfile !== undefined && apparmorProfile !== 'unconfined' && !facts.apparmor) {
    throw refuse('process.apparmorProfile', 'this host has no AppArmor', 'leave it out to run without a profile')
  }
  if (selinuxLabel !== undefined && !facts.selinux) {
    throw refuse('process.selinuxLabel', 'this host has no SELinux', 'leave it out to run without a label')
  }
  if (linux?.mountLabel !== undefined && !facts.selinux) {
    throw refuse('linux.mountLabel', 'this host has no SELinux', 'leave it out to mount without a label')
  }
  if (linux?.intelRdt !== undefined && !existsSync(join(RESCTRL, 'schemata'))) {
    const hint = 'mount -t resctrl resctrl /sys/fs/resctrl, if the processor can do that'
    throw refuse('linux.intelRdt', `this host has no resctrl filesystem at ${RESCTRL}`, hint)
  }
  if (linux?.intelRdt !== undefined) checkNamedGroup(linux.intelRdt, id)
}

/** Which of our own standard streams are given to the container's user: pipes and terminals, never a file of the host. */
export function streamsToGive(): readonly [boolean, boolean, boolean] {
  const give = (fd: number): boolean => {
    const info = fstatSync(fd)
    // 136-143 are the major numbers of pseudo-terminals (Linux's devices.txt).
    const major = Math.floor(info.rdev / 256) % 4096
    return info.isFIFO() || (info.isCharacterDevice() && major >= 136 && major <= 143)
  }
  return [give(0), give(1), give(2)]
}
