import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeft, expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  await machine.tscrun(['rm', ...machine.containers()])
  expectNothingLeft(machine)
})

async function make(name: string): Promise<string> {
  await machine.tscrun(['run', '--name', name, '--rootfs', `${machine.rootfs}:O`, 'true'])
  const { stdout } = await machine.tscrun(['inspect', '-f', '{{.Id}}', name])
  return stdout.trim()
}
const nameOf = async (idOrName: string) =>
  (await machine.tscrun(['inspect', '-f', '{{.Name}}', idOrName])).stdout.trim()

describe('a container is found', () => {
  it('by its name, its id, and any beginning of its id that no other has', async () => {
    const id = await make('one')
    for (const word of ['one', id, id.slice(0, 12), id.slice(0, 1)]) expect(await nameOf(word)).toBe('one')
  })

  it('by its name before the beginning of an id', async () => {
    const id = await make('one')
    await make(id.slice(0, 12))
    expect(await nameOf(id.slice(0, 12))).toBe(id.slice(0, 12))
    expect(await nameOf(id)).toBe('one')
  })

  it('not by a beginning that two have, by a path or by nothing', async () => {
    const firsts = new Map<string, number>()
    // Sixteen digits: two of seventeen ids share one.
    for (let count = 0; count < 17; count++) {
      const first = (await make(`c${count}`)).slice(0, 1)
      firsts.set(first, (firsts.get(first) ?? 0) + 1)
    }
    const [shared = '', many] = [...firsts].find(([, number]) => number > 1) ?? []
    const { exitCode, stderr } = await machine.tscrun(['rm', shared])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, new RegExp(`^tscrun: container ${shared}: ${many} ids begin like this`))
    for (const word of ['../names/c0', '..', '']) {
      const refused = await machine.tscrun(['rm', word])
      expect(refused.exitCode).toBe(125)
      expectOneLine(refused.stderr, /^tscrun: container .*: there is none/)
    }
  })
})
