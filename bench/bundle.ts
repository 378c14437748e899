import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FIRST_ID = 0x70000000
const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
  'AUDIT_WRITE',
  'MKNOD',
  'NET_RAW',
].map((name) => `CAP_${name}`) // prettier-ignore
const MASKED = [
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
]
const READONLY = ['/proc/asound', '/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
const PROFILE = '/usr/share/containers/seccomp.json'

/** Builds a static program from one of our C files. */
export function compileStatic(source: string, target: string): void {
  const { status, stderr } = spawnSync('musl-gcc', ['-static', '-Os', '-s', '-o', target, source], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`musl-gcc ${source}: ${stderr}`)
}

/** A root filesystem of one program, with every place that runtimes mount on: inside a user namespace they cannot make them. */
export function makeRootfs(directory: string, payload: string): void {
  for (const name of ['proc', 'sys', 'sys/fs/cgroup', 'dev', 'etc', 'run', 'tmp', 'root'])
    mkdirSync(join(directory, name), { recursive: true })
  for (const name of ['hosts', 'hostname', 'resolv.conf', 'passwd', 'group'])
    writeFileSync(join(directory, 'etc', name), '')
  compileStatic(payload, join(directory, 'true'))
}

/** A bundle that asks for what `tscrun run` gives by default, but for the overlay: an OCI runtime is given its root. */
export function writeBundle(directory: string, rootfs: string, args: readonly string[]): void {
  const mapping = [{ containerID: 0, hostID: FIRST_ID, size: 65536 }]
  const seccomp = seccompSection()
  const config = {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
    },
    root: { path: rootfs, readonly: false },
    hostname: 'bench',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
      },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup', 'user'].map((type) => ({ type })),
      uidMappings: mapping,
      gidMappings: mapping,
      maskedPaths: MASKED,
      readonlyPaths: READONLY,
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  }
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
}

interface DockerRule {
  readonly names: readonly string[]
  readonly action: string
  readonly args?: readonly unknown[] | null
  readonly errnoRet?: number
  readonly includes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] }
  readonly excludes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] }
}

/** The default profile of Debian's podman in the form of config.json, as far as our capabilities go. */
function seccompSection(): unknown {
  if (!existsSync(PROFILE)) return undefined
  const profile = JSON.parse(readFileSync(PROFILE, 'utf8')) as {
    defaultAction: string
    defaultErrnoRet?: number
    syscalls: DockerRule[]
  }
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const applies = ({ includes = {}, excludes = {} }: DockerRule): boolean =>
    (includes.arches?.includes(arch) ?? true) &&
    (includes.caps?.every((capability) => CAPABILITIES.includes(capability)) ?? true) &&
    !(excludes.arches?.includes(arch) ?? false) &&
    !(excludes.caps?.some((capability) => CAPABILITIES.includes(capability)) ?? false)
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures:
      arch === 'arm64'
        ? ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']
        : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: profile.syscalls.filter(applies).map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      ...(args === undefined || args === null || args.length === 0 ? {} : { args }),
      ...(errnoRet === undefined ? {} : { errnoRet }),
    })),
  }
}
