import { lchownSync, mkdirSync, symlinkSync, writeFileSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Ended, expectNothingLeft, expectOneLine, useMachine } from './fixtures/machine.ts'

/** Files of an image whose owner is none of the 65,536 ids of a container. */
const machine = useMachine()
beforeAll(async () => {
  for (const [name, owner] of [
    ['ordinary', [65_535, 65_535]],
    ['user', [65_536, 0]],
    ['group', [0, 100_000]],
  ] as const) {
    const tree = join(machine.directory, name)
    mkdirSync(join(tree, 'bin'), { recursive: true })
    copyFileSync(join(machine.rootfs, 'bin', 'busybox'), join(tree, 'bin', 'busybox'))
    symlinkSync('busybox', join(tree, 'bin', 'stat'))
    writeFileSync(join(tree, 'file'), 'x')
    lchownSync(join(tree, 'file'), owner[0], owner[1])
    await execa('tar', ['-C', tree, '-cf', `${tree}.tar`, '.'])
    await take(`${tree}.tar`, `localhost/${name}:1`)
  }
})
afterEach(() => expectNothingLeft(machine))

async function take(archive: string, image: string): Promise<void> {
  const { exitCode, stderr } = await machine.tscrun(['import', '-q', archive, image])
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
}

const ownerIn = (image: string, ...flags: readonly string[]): Promise<Ended> =>
  machine.tscrun(['run', '--rm', '--network', 'none', ...flags, image, '/bin/stat', '-c', '%u:%g', '/file'])

describe('an owner that a container has no id for', () => {
  it.each([
    ['user', 65_536, '65534:0'],
    ['group', 100_000, '0:65534'],
  ])('is nobody there, and a line says so (%s)', async (name, id, shown) => {
    const image = `localhost/${name}:1`
    const { exitCode, stdout, stderr } = await ownerIn(image)
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${shown}\n` })
    const expected = `warning: ${image} has files of id ${id}, and a container has 65536 ids: they are nobody's there`
    expect(stderr).toContain(expected)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  it('is an error where the ids of a container are asked for', async () => {
    const { exitCode, stdout, stderr } = await ownerIn('localhost/user:1', '--userns=auto')
    expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
    expectOneLine(
      stderr,
      /^tscrun: --userns=auto: localhost\/user:1 has files of id 65536, and a container has 65536 ids \(/,
    )
  })

  it('is itself with all ids of the host', async () => {
    expect(await ownerIn('localhost/user:1', '--userns=host')).toMatchObject({
      exitCode: 0,
      stdout: '65536:0\n',
      stderr: '',
    })
  })

  it('is none of the first 65,536', async () => {
    expect(await ownerIn('localhost/ordinary:1', '--userns=auto')).toMatchObject({
      exitCode: 0,
      stdout: '65535:65535\n',
      stderr: '',
    })
  })
})
