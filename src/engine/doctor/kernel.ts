import type { DoctorCheck } from '../api.ts'
import { isAtLeast } from '../../overlayfs/support.ts'
import type { HostReport } from './report.ts'

const OLDEST_NODE = [20, 19] as const
const CAP_SYS_ADMIN = 1n << 21n

/** What the machine is and what its kernel answers. */
export function kernelChecks(report: HostReport): DoctorCheck[] {
  return [
    kernelVersion(report),
    processor(report),
    node(report),
    privileges(report),
    nesting(report),
    systemCalls(report),
    seccomp(report),
    securityModules(report),
  ]
}

function kernelVersion({ facts: { kernel } }: HostReport): DoctorCheck {
  const name = 'kernel'
  if (!isAtLeast(kernel, 5, 14)) {
    const remedy =
      'boot Linux 5.14 or newer, e.g. on Debian 11: apt-get install -t bullseye-backports linux-image-amd64'
    return { name, result: 'fail', detail: `Linux ${kernel.release} is too old`, remedy }
  }
  if (!isAtLeast(kernel, 5, 19)) {
    return {
      name,
      result: 'warn',
      detail: `Linux ${kernel.release}: overlayfs takes no id-mapped layers, so images run in the host's user namespace`,
      remedy: 'boot Linux 5.19 or newer',
    }
  }
  return { name, result: 'ok', detail: `Linux ${kernel.release}` }
}

function processor({ facts: { arch } }: HostReport): DoctorCheck {
  const name = 'processor'
  if (arch === 'x64' || arch === 'arm64') return { name, result: 'ok', detail: arch }
  return { name, result: 'fail', detail: `${arch} is not supported`, remedy: 'use a machine with x86_64 or aarch64' }
}

function node({ nodeVersion }: HostReport): DoctorCheck {
  const name = 'node'
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) {
    return { name, result: 'ok', detail: nodeVersion }
  }
  const remedy = `install Node ${OLDEST_NODE.join('.')} or newer, or name one by TSCRUN_NODE=/path/to/node`
  return { name, result: 'fail', detail: `${nodeVersion} is too old`, remedy }
}

function privileges({ facts, capabilities }: HostReport): DoctorCheck {
  const name = 'privileges'
  if (facts.euid !== 0) {
    return {
      name,
      result: 'fail',
      detail: `user ${facts.euid}: running a container needs root`,
      remedy: 'sudo tscrun doctor',
    }
  }
  if ((capabilities & CAP_SYS_ADMIN) === 0n) {
    const remedy = 'start the container around tscrun with --privileged, or at least with --cap-add SYS_ADMIN'
    return { name, result: 'fail', detail: 'root without CAP_SYS_ADMIN', remedy }
  }
  return { name, result: 'ok', detail: 'root' }
}

function nesting({ nesting: { inside, ownUserNamespace, procMasks } }: HostReport): DoctorCheck {
  const name = 'nesting'
  if (inside === undefined) return { name, result: 'ok', detail: 'not in a container' }
  if (procMasks.length > 0) {
    return {
      name,
      result: 'fail',
      detail: `in a container (${inside}) that hides parts of /proc (${procMasks.join(', ')}): none can be mounted below it`,
      remedy: 'start that container with --privileged, or with --security-opt systempaths=unconfined',
    }
  }
  if (ownUserNamespace) {
    return {
      name,
      result: 'fail',
      detail: `in a container (${inside}) with a user namespace of its own: its root can make no device files`,
      remedy: 'start that container with --privileged --userns=host',
    }
  }
  return { name, result: 'ok', detail: `in a container (${inside})` }
}

function systemCalls({ missingCalls }: HostReport): DoctorCheck {
  const name = 'system calls'
  if (missingCalls.length === 0)
    return { name, result: 'ok', detail: 'clone3, openat2, open_tree, mount_setattr, pidfd_open' }
  const detail = missingCalls.map((call) => `${call.name}: ${call.errno}`).join(', ')
  const filtered = missingCalls.some((call) => call.errno === 'EPERM')
  const remedy = filtered
    ? 'a seccomp filter is in the way: start the container around tscrun with --privileged or --security-opt seccomp=unconfined'
    : 'boot Linux 5.14 or newer; in a container a seccomp filter may be in the way: --security-opt seccomp=unconfined'
  return { name, result: 'fail', detail, remedy }
}

/** What the default filter and docker's profiles answer with. */
const NEEDED_ACTIONS = ['errno', 'allow', 'kill_process', 'trace']

function seccomp({ seccompActions }: HostReport): DoctorCheck {
  const name = 'seccomp'
  const actions = seccompActions?.trim().split(/\s+/) ?? []
  const missing = NEEDED_ACTIONS.filter((action) => !actions.includes(action))
  if (missing.length === 0) return { name, result: 'ok', detail: actions.join(' ') }
  return {
    name,
    result: 'fail',
    detail: actions.length === 0 ? 'this kernel has no filters of system calls' : `no ${missing.join(', ')}`,
    remedy: 'use a kernel with CONFIG_SECCOMP_FILTER=y; run --security-opt seccomp=unconfined does without',
  }
}

function securityModules({ lsm, apparmorEnabled }: HostReport): DoctorCheck {
  const name = 'security modules'
  if (lsm !== undefined) return { name, result: 'ok', detail: lsm.trim() === '' ? 'none' : lsm.trim() }
  if (apparmorEnabled?.trim() !== 'Y') return { name, result: 'ok', detail: 'not known: securityfs is not mounted' }
  return {
    name,
    result: 'warn',
    detail: 'AppArmor is on, but cannot be asked: securityfs is not mounted',
    remedy: 'mount -t securityfs securityfs /sys/kernel/security',
  }
}
