import { describe, expect, it } from 'vitest'
import type { NamespaceType } from '../../src/model/config.ts'
import { compileExec, type ExecSpec } from '../../src/plan/compile-exec.ts'
import { formatPlan } from '../../src/plan/format.ts'

const ALL: readonly NamespaceType[] = ['mount', 'uts', 'ipc', 'network', 'pid', 'cgroup', 'user', 'time']
const MAPPING = [{ containerID: 0, hostID: 0x70000000, size: 65536 }]

/** What containerd runs in a container with a user namespace. */
const DETACHED: ExecSpec = {
  process: {
    user: { uid: 1000, gid: 1000, additionalGids: [10] },
    args: ['sh', '-c', 'id'],
    env: ['PATH=/bin', 'TERM=xterm'],
    cwd: '/srv',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
    noNewPrivileges: true,
    oomScoreAdj: 500,
  },
  namespaces: new Set(ALL),
  uidMappings: MAPPING,
  gidMappings: MAPPING,
  cgroup: '/sys/fs/cgroup/pod/container',
  stdio: { kind: 'inherited', give: [false, true, true] },
  seccomp: { program: Buffer.alloc(64), flags: 0 },
  detached: true,
  preserveFds: 0,
  keyring: true,
  pidfdSocket: false,
}

/** What a person runs in a container without a user namespace, on their terminal. */
const TERMINAL: ExecSpec = {
  ...DETACHED,
  process: { user: { uid: 0, gid: 0 }, args: ['/bin/sh'], env: ['PATH=/bin', 'HOME=/root'], cwd: '/', terminal: true },
  namespaces: new Set(ALL.filter((type) => type !== 'user' && type !== 'time')),
  stdio: { kind: 'terminal', interactive: true },
  detached: false,
  preserveFds: 2,
}

describe('the plan of exec', () => {
  it.each<[string, ExecSpec]>([
    ['exec-detached', DETACHED],
    ['exec-terminal', TERMINAL],
    ['exec-console', { ...TERMINAL, stdio: { kind: 'console' }, detached: true, preserveFds: 0, pidfdSocket: true }],
    ['exec-shared', { ...TERMINAL, namespaces: new Set(['uts']), stdio: DETACHED.stdio, chroot: true, preserveFds: 0 }],
  ])('%s', async (name, spec) => {
    await expect(formatPlan(compileExec(spec))).toMatchFileSnapshot(`plans/${name}.txt`)
  })
})
