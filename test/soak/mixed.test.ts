import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { createEngine } from '../../src/index.ts'
import { pushBusybox } from '../clients/fixtures/images.ts'
import { startRegistry } from '../clients/fixtures/registry.ts'
import { randomOf, soakOf } from '../setup/soak.ts'
import { cgroupsOf, expectNothingLeft, useMachine, processesWith, until } from '../kernel/fixtures/machine.ts'

/**
 * Commands of every kind on one store, 20 at once, and a program beside them. Each must do what it says, or refuse in one
 * line for a reason that another command has given it.
 */
const AT_ONCE = 20
const { count: rounds, seed } = soakOf('mixed', 3)

const machine = useMachine()
let image = ''
beforeAll(async () => {
  const registry = await startRegistry()
  try {
    image = await pushBusybox(registry, 'mixed:1')
    await must(['pull', '-q', '--tls-verify=false', image])
  } finally {
    await registry.stop()
  }
})

/** What another command may have done at the moment. */
const PRUNED = /: there is none|: it is (?:stopped|running|created)|another command (?:has|still)|not in the store/
const OTHER_VOLUME = /: used by |: there is one of this name|: there is none/

async function must(args: readonly string[], allowed?: RegExp): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args, { timeout: 120_000 })
  if (
    exitCode !== 0 &&
    exitCode !== undefined &&
    allowed?.test(stderr) === true &&
    stderr.trim().split('\n').length === 1
  )
    return ''
  expect({ exitCode, stderr }, `${args.join(' ')} (seed ${seed})`).toEqual({ exitCode: 0, stderr: '' })
  return stdout
}

let names = 0
/** Each is a whole story; what it leaves others may find. */
const STORIES: readonly ((pick: (below: number) => number) => Promise<void>)[] = [
  async (pick) => {
    const said = `said ${pick(1e6)}`
    expect(
      await must(['run', '--rm', '-v', `shared${pick(3)}:/v`, image, 'sh', '-c', `echo ${said} > /v/x; echo ${said}`]),
    ).toBe(`${said}\n`)
  },
  async () => {
    const name = `detached${names++}`
    await must(['run', '-d', '--name', name, '-v', '/anonymous', image, 'sleep', '19314'])
    expect(await must(['exec', name, 'echo', name])).toBe(`${name}\n`)
    await must(['rm', '-f', '-v', name])
  },
  async () => {
    const name = `created${names++}`
    // Whoever prunes may take it from here on.
    if ((await must(['create', '--name', name, image, 'true'])) === '') return
    await must(['start', name], PRUNED)
    await must(['wait', name], PRUNED)
    await must(['rm', name], PRUNED)
  },
  async (pick) => {
    const name = `volume${pick(4)}`
    await must(['volume', 'create', name], OTHER_VOLUME)
    await must(['volume', 'inspect', name], OTHER_VOLUME)
    await must(['volume', 'rm', name], OTHER_VOLUME)
  },
  async () => {
    await must(['ps', '-a', '--format', 'json'])
    for (const id of (await must(['ps', '-aq'])).split('\n').slice(0, 3))
      if (id !== '') await must(['inspect', id], PRUNED)
  },
  async () => {
    const name = `source${names++}`
    await must(['run', '-d', '--name', name, image, 'sleep', '19314'])
    await must(['commit', '-q', name, `localhost/${name}:1`])
    await must(['rm', '-f', name])
    await must(['rmi', `localhost/${name}:1`], PRUNED)
  },
  async () => {
    await must(['system', 'prune', '-f'])
    await must(['volume', 'prune', '-f'])
    await must(['images', '-q'])
  },
  async () => {
    await must(['system', 'df'])
    await must(['info'])
  },
  async (pick) => {
    const engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
    const volumes = [{ volume: `shared${pick(3)}`, target: '/v' }, { target: '/anonymous' }]
    const { stdout } = await engine.run(image, ['echo', 'library'], { pull: 'never', volumes })
    expect(stdout).toBe('library\n')
    await engine.ps({ all: true })
  },
]

it(
  `commands of every kind, ${AT_ONCE} at once, neither harm nor block one another, and nothing is left`,
  async () => {
    const random = randomOf(seed)
    for (let round = 0; round < rounds; round++) {
      const stories = Array.from({ length: AT_ONCE }, () => {
        const story = STORIES[Math.floor(random() * STORIES.length)]
        const own = randomOf(Math.floor(random() * 2 ** 31))
        return Promise.resolve(story?.((below) => Math.floor(own() * below)))
      })
      await Promise.all(stories)
    }
    await must(['system', 'prune', '-f'])
    await must(['volume', 'prune', '-f', '-a'])
    const containers = await must(['ps', '-aq'])
    const ids = machine.containers()
    await until(() => processesWith('sleep 19314').length === 0)
    expect({ containers, ids, cgroups: ids.flatMap(cgroupsOf) }).toEqual({ containers: '', ids: [], cgroups: [] })
    expect(readdirSync(join(machine.store, 'volumes'))).toEqual([])
    expect(readdirSync(join(machine.store, 'work'))).toEqual([])
    expect(await must(['images', '--format', '{{.Repository}}:{{.Tag}}'])).toBe(`${image}\n`)
    expectNothingLeft(machine)
  },
  rounds * 120_000,
)
