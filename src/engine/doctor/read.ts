import { accessSync, constants, existsSync, readdirSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isatty } from 'node:tty'
import { errnoOf } from '../../model/errors.ts'
import type { HostFacts } from '../../model/facts.ts'
import { filesystemOf } from '../../overlayfs/support.ts'
import { readIfThere } from '../../runtime/host.ts'
import { poolOf, rangesIn, readIdFacts } from '../ids/id-range.ts'
import { isInFirst } from '../ids/nesting.ts'
import type { EnginePaths } from '../paths.ts'
import { missingCalls, probeDeviceFilter, probeNamespaces } from './probe.ts'
import type { CertificateReport, HostReport, NamespaceReport, NestingReport, StoreReport } from './report.ts'

/** Looks at everything once; changes nothing. */
export async function readReport(facts: HostFacts, paths: EnginePaths): Promise<HostReport> {
  const root = facts.euid === 0
  const ids = readIdFacts(paths.idPool)
  const pool = poolOf(ids)
  const existing = nearestThere(paths.root)
  const made = root ? await probeNamespaces({}) : undefined
  const madeUser = made?.ok === true && rangesIn(pool) > 0 ? await probeNamespaces({ firstId: pool.first }) : undefined
  const idmapped = madeUser?.ok === true ? await probeNamespaces({ firstId: pool.first, idmap: existing }) : undefined
  return {
    facts,
    nodeVersion: process.versions.node,
    capabilities: BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readIfThere('/proc/self/status') ?? '')?.[1] ?? '0'}`),
    missingCalls: missingCalls(),
    namespaces: { ...readNamespaces(), made, madeUser },
    identities: {
      ids,
      subgid: readIfThere('/etc/subgid'),
      passwd: readIfThere('/etc/passwd'),
      taken: namesIn(paths.ranges).length,
    },
    store: { ...readStore(paths.root, existing), idmapped },
    nesting: readNesting(),
    filesystems: readIfThere('/proc/filesystems') ?? '',
    overlayModule: hasModule(facts.kernel.release, 'overlay'),
    seccompActions: readIfThere('/proc/sys/kernel/seccomp/actions_avail'),
    lsm: readIfThere('/sys/kernel/security/lsm'),
    apparmorEnabled: readIfThere('/sys/module/apparmor/parameters/enabled'),
    deviceFilter: root ? probeDeviceFilter() : 'not tried',
    terminal: { input: isatty(0), output: isatty(1) },
    certificates: readCertificates(process.env),
    programs: { nft: findProgram('nft'), pasta: findProgram('pasta') },
  }
}

function nearestThere(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestThere(dirname(path))
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (['ENOENT', 'EACCES'].includes(errnoOf(error) ?? '')) return []
    throw error
  }
}

function readNamespaces(): Omit<NamespaceReport, 'made' | 'madeUser'> {
  const limit = (name: string): string | undefined => readIfThere(`/proc/sys/user/max_${name}_namespaces`)
  return {
    limits: {
      user: limit('user'),
      mnt: limit('mnt'),
      pid: limit('pid'),
      net: limit('net'),
      ipc: limit('ipc'),
      uts: limit('uts'),
      cgroup: limit('cgroup'),
    },
    apparmorRestricts: readIfThere('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
    unprivilegedClone: readIfThere('/proc/sys/kernel/unprivileged_userns_clone'),
  }
}

function readStore(path: string, existing: string): Omit<StoreReport, 'idmapped'> {
  const { bavail, bsize, files, ffree } = statfsSync(existing)
  return {
    path,
    filesystem: filesystemOf(existing),
    freeBytes: bavail * bsize,
    files: { total: files, free: ffree },
    readonly: isReadonly(existing),
  }
}

function isReadonly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return false
  } catch (error) {
    if (errnoOf(error) === 'EROFS') return true
    if (errnoOf(error) === 'EACCES') return false
    throw error
  }
}

function readNesting(): NestingReport {
  // A mark alone says nothing: a machine that was made from an image still has it.
  const host = isInFirst('pid') && isInFirst('cgroup') && isInFirst('user')
  const inside = host ? undefined : (containerKind() ?? 'of an unknown kind')
  return {
    inside,
    ownUserNamespace: !isInFirst('user'),
    procMasks: procMasks(readIfThere('/proc/self/mountinfo') ?? ''),
  }
}

/** Marks that engines leave for what runs inside them (podman, docker, systemd's container interface). */
function containerKind(): string | undefined {
  if (existsSync('/run/.containerenv')) return 'podman'
  if (existsSync('/.dockerenv')) return 'docker'
  return readIfThere('/run/systemd/container')?.trim()
}

/** What lies on /proc, but for what the kernel itself keeps a place for. */
export function procMasks(mountinfo: string): string[] {
  const points = mountinfo.split('\n').map((line) => line.split(' ')[4] ?? '')
  return [...new Set(points)].filter((point) => point.startsWith('/proc/') && point !== '/proc/sys/fs/binfmt_misc')
}

function hasModule(release: string, name: string): boolean {
  const directory = join('/lib/modules', release)
  const texts = ['modules.dep', 'modules.builtin'].map((file) => readIfThere(join(directory, file)) ?? '')
  return texts.some((text) => new RegExp(`/${name}\\.ko`).test(text))
}

const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

function readCertificates(env: NodeJS.ProcessEnv): CertificateReport {
  // The launcher hands NODE_EXTRA_CA_CERTS on under another name.
  const named = [
    { variable: 'SSL_CERT_FILE', path: env['SSL_CERT_FILE'] },
    { variable: 'NODE_EXTRA_CA_CERTS', path: env['TSCRUN_NODE_EXTRA_CA_CERTS'] ?? env['NODE_EXTRA_CA_CERTS'] },
  ]
  return {
    bundle: BUNDLES.find((path) => existsSync(path)),
    dangling: named.flatMap(({ variable, path }) =>
      path === undefined || path === '' || existsSync(path) ? [] : [{ variable, path }],
    ),
  }
}

/** Root's search path may lack the directories of system programs. */
function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin']
  const paths = directories.filter((directory) => directory.startsWith('/')).map((directory) => join(directory, name))
  return paths.find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    return (statSync(path).mode & 0o111) !== 0
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return false
    throw error
  }
}
