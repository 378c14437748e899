import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { busyboxMembers, makeImage, writeLayout } from '../clients/fixtures/images.ts'
import { expectNothingLeft, useMachine, type Running } from './fixtures/machine.ts'
import { NEEDS_NODE, preparedFiles, WITHOUT_NODE } from './fixtures/prepared.ts'

const machine = useMachine()
beforeAll(async () => {
  for (const [name, text, volumes] of [
    ['one', 'first', {}],
    ['two', 'second', {}],
    ['three', 'volume', { Volumes: { '/data': {} } }],
  ] as const) {
    const layers = [
      busyboxMembers(),
      [
        { name: 'etc/motd', content: `${text}\n` },
        { name: 'bin/.wh.env', content: '' },
      ],
    ]
    const image = await makeImage({ layers, config: { Cmd: ['cat', '/etc/motd'], Env: ['PATH=/bin'], ...volumes } })
    const layout = join(machine.directory, name)
    writeLayout(layout, [image])
    await done(['load', '-q', '-i', layout])
    await done(['tag', image.config.digest, `example.com/${name}:1`, name])
  }
})

async function done(args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await machine.tscrun(args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
}

const run = (image: string): Running => machine.tscrun(['run', '--rm', image])
const replay = (image: string): Running => machine.tscrun(['run', '--rm', image], { env: WITHOUT_NODE })

/** As the registry's index is not older than a tick of the clock, the first start may keep nothing. */
async function expectReplay(image: string, text: string): Promise<void> {
  for (let tries = 0; (await replay(image)).exitCode !== 0; tries++) {
    if (tries > 5) expect.fail(`${image} is not kept`)
    expect(await run(image)).toMatchObject({ exitCode: 0, stdout: `${text}\n`, stderr: '' })
  }
  expect(await replay(image)).toMatchObject({ exitCode: 0, stdout: `${text}\n`, stderr: '' })
  expectNothingLeft(machine)
}

describe('a start of a stored image that was made before', () => {
  it.each(['example.com/one:1', 'one'])('needs no Node: %s', (image) => expectReplay(image, 'first'))

  it('is made anew where the name has gone to another image', async () => {
    await expectReplay('example.com/one:1', 'first')
    await done(['tag', 'example.com/two:1', 'example.com/one:1'])
    expect(await replay('example.com/one:1')).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(NEEDS_NODE),
    })
    expect((await run('example.com/one:1')).stdout).toBe('second\n')
    await expectReplay('example.com/one:1', 'second')
  })

  it('keeps no image: one that is removed is gone, and missing', async () => {
    await expectReplay('two', 'second')
    await done(['rmi', '-f', 'two', 'example.com/two:1', 'example.com/one:1'])
    expect((await replay('two')).exitCode).toBe(125)
    const { exitCode, stderr } = await machine.tscrun(['run', '--rm', '--pull', 'never', 'two'])
    expect({ exitCode, stderr }).toEqual({ exitCode: 125, stderr: expect.stringContaining('not in the store') })
    expectNothingLeft(machine)
  })

  it('is not kept where the image declares a volume', async () => {
    const before = preparedFiles(machine)
    for (let tries = 0; tries < 3; tries++) expect((await run('three')).stdout).toBe('volume\n')
    expect(preparedFiles(machine)).toEqual(before)
  })
})
