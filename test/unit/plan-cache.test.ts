import { describe, expect, it } from 'vitest'
import { defaultName } from '../../src/engine/start/name.ts'
import { planFor } from '../../src/engine/prepared/plan-cache.ts'
import type { LaunchSpec } from '../../src/model/launch.ts'
import type { Plan } from '../../src/model/step.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import type { Identity } from '../../src/plan/template.ts'

/** Ids whose names have as many letters, and that begin differently. */
function identities(count: number): Identity[] {
  const found: Identity[] = []
  for (let index = 1; found.length < count; index++) {
    const id = (Math.imul(index, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(8)
    const name = defaultName(id)
    if (found.length > 0 && name.length !== found[0]?.name.length) continue
    found.push({ id, name, firstId: 0x70000000 + 65536 * index, nowMs: 0 })
  }
  return found
}

const specOf = ({ id, name, firstId }: Identity, more: Partial<LaunchSpec> = {}): LaunchSpec => ({
  id,
  config: {
    ociVersion: '1.2.1',
    hostname: id.slice(0, 12),
    linux: { uidMappings: [{ containerID: 0, hostID: firstId, size: 65536 }] },
  },
  directory: `/store/containers/${id}`,
  rootfs: { kind: 'directory', path: '/rootfs', idmap: true },
  files: [{ target: '/etc/hosts', name: 'hosts', content: `127.0.1.1 ${name}\n` }],
  stdio: { kind: 'direct', interactive: false },
  init: false,
  kernel: { major: 6, minor: 1 },
  ...more,
})

const planOf = ({ directory, files, config, stdio, init }: LaunchSpec, { firstId }: Identity): Plan => ({
  parent: [
    { op: 'open', fd: 'fd:directory', dir: 'cwd', path: directory, flags: 0, mode: 0, resolve: 0 },
    { op: 'chown', dir: 'fd:directory', path: 'upper', uid: firstId, gid: firstId + 5 },
    { op: 'write_proc', file: 'uid_map', bytes: `0 ${firstId} 65536\n` },
  ],
  child: [
    { op: 'sethostname', name: config.hostname ?? '' },
    { op: 'write_file', dir: 'fd:directory', path: 'hosts', bytes: files[0]?.content ?? '' },
    { op: 'umask', mask: stdio.kind === 'direct' && stdio.interactive ? 1 : 0 },
    { op: 'umask', mask: init ? 1 : 0 },
  ],
  teardown: [],
  pumps: [],
  inherited: ['fd:stdout'],
})

describe('plans of a process that starts many containers', () => {
  it('are what would have been compiled, and compiled three times', () => {
    for (const more of [{}, { init: true }, { stdio: { kind: 'direct', interactive: true } }] as const) {
      let compiled = 0
      for (const identity of identities(12)) {
        const spec = specOf(identity, more)
        const made = planFor(spec, identity, () => (compiled++, planOf(spec, identity)))
        expect(made.bytes()).toEqual(encodePlan(planOf(spec, identity), { monitor: true, trace: false }))
        expect(made.plan.inherited).toEqual(['fd:stdout'])
      }
      expect(compiled).toBe(3)
    }
  })

  it('have the addresses of each, also where those before had the same ones by chance', () => {
    for (const [index, identity] of identities(9).entries()) {
      const ip = `10.89.0.${index < 3 ? 4 : index}`
      const found = { ...identity, ip }
      const spec = specOf(found, { files: [{ target: '/etc/hosts', name: 'hosts', content: `${ip} ${found.name}\n` }] })
      const made = planFor(spec, found, () => planOf(spec, found))
      expect(made.bytes()).toEqual(encodePlan(planOf(spec, found), { monitor: true, trace: false }))
    }
  })

  it('are compiled again each time where the plan depends on more than is filled in', () => {
    let compiled = 0
    for (const identity of identities(6)) {
      const spec = specOf(identity, { directory: `/other/${identity.id}` })
      const plan = (): Plan => ({
        ...planOf(spec, identity),
        teardown: [{ op: 'umask', mask: Number.parseInt(identity.id.slice(0, 4), 16) }],
      })
      const made = planFor(spec, identity, () => (compiled++, plan()))
      expect(made.bytes()).toEqual(encodePlan(plan(), { monitor: true, trace: false }))
    }
    expect(compiled).toBe(6)
  })

  it('have their steps where somebody asks for them', () => {
    const all = identities(5)
    const made = all.map((identity) => {
      const spec = specOf(identity, { directory: `/asked/${identity.id}` })
      return planFor(spec, identity, () => planOf(spec, identity))
    })
    expect(made.at(-1)?.plan.child[0]).toEqual({ op: 'sethostname', name: all.at(-1)?.id.slice(0, 12) })
  })
})
