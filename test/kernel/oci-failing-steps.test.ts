import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OciConfig } from '../../src/model/config.ts'
import { MEETING, type FdSlot, type Plan, type Step } from '../../src/model/step.ts'
import { compile } from '../../src/plan/compile.ts'
import { followStage } from '../../src/runtime/follow.ts'
import { closeFd } from '../../src/syscall/process.ts'
import { listenUnix } from '../../src/syscall/socket.ts'
import { type Bundles, DEFAULT_MOUNTS, makeBundles } from './fixtures/bundles.ts'
import { until } from './fixtures/machine.ts'

let bundles: Bundles
beforeAll(() => (bundles = makeBundles()))
afterAll(() => bundles.dispose())

/** Fails for a reason that no other step has: there is no such directory. */
const FAILS: Step = { op: 'chdir', path: '/no/such/directory', about: 'fail on purpose' }

function planOf(directory: string): Plan {
  const hook = { path: '/bin/true' }
  const config: OciConfig = {
    ociVersion: '1.2.0',
    root: { path: bundles.rootfs },
    process: { user: { uid: 0, gid: 0 }, args: ['/bin/true'], cwd: '/', env: [] },
    mounts: [
      ...DEFAULT_MOUNTS,
      { destination: '/mnt/a', type: 'bind', source: '/etc', options: ['rbind', 'rshared'] },
      { destination: '/mnt/b', type: 'tmpfs', source: 'tmpfs', options: ['ro', 'tmpcopyup'] },
    ],
    hooks: { prestart: [hook], createRuntime: [hook], createContainer: [hook] },
    linux: {
      namespaces: [{ type: 'pid' }, { type: 'network' }, { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }],
      maskedPaths: ['/proc/keys'],
      readonlyPaths: ['/proc/sys'],
    },
  }
  return compile({
    id: 'failing',
    config,
    directory,
    rootfs: { kind: 'directory', path: bundles.rootfs, idmap: false },
    files: [],
    stdio: { kind: 'inherited', give: [false, false, false] },
    init: false,
    kernel: { major: 6, minor: 18 },
    oci: { gate: true, preserveFds: 0, pivot: true, keyring: true, pidfdSocket: false, bundle: directory },
  })
}

/** What comes when the first process has said that it waits is for `start` to hear, on another connection. */
function lastStep(plan: Plan, column: 'parent' | 'child'): number {
  if (column === 'parent') return plan.parent.length
  return plan.child.findIndex((step) => step.op === 'notify' && step.point === MEETING.waiting) + 1
}

const stages = (): string[] =>
  readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && titleOf(pid).includes('failing-stage'))

function titleOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}

describe('a create of which one step fails', () => {
  it.each(['parent', 'child'] as const)(
    'ends, tells that step and leaves nothing, whichever it is: %s',
    async (column) => {
      const plan = planOf(bundles.directory)
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      for (let index = 0; index < lastStep(plan, column); index++) {
        const steps = plan[column].toSpliced(index, 0, FAILS)
        const directory = join(bundles.directory, `${column}${index}`)
        mkdirSync(directory)
        const gate = listenUnix(join(directory, 'gate'), 'seqpacket')
        const fds = new Map<FdSlot, number>([
          ['fd:stdin', 0],
          ['fd:stdout', 1],
          ['fd:stderr', 2],
          ['fd:gate', gate],
        ])
        const ran = followStage({ ...plan, [column]: steps }, { title: 'failing-stage', fds })
        await expect(ran, `${column} ${index}: ${steps[index + 1]?.op}`).rejects.toThrow('fail on purpose')
        closeFd(gate)
        rmSync(directory, { recursive: true })
      }
      await until(() => stages().length === 0)
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mounts)
    },
  )
})
