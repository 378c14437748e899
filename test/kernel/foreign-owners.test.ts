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
    ['user', 65_536],
    ['group', 100_000],
  ])('is an error that tells the image, the id and what there is (%s)', async (name, id) => {
    const image = `localhost/${name}:1`
    const line = new RegExp(
      `^tscrun: ${image}: it has files of id ${id}, and the container's ids are 0 to 65535 \\(--userns=host has all ids; .*\\)\n$`,
    )
    // What was begun before may be begun again in another way.
    for (const flags of [[], [], ['--userns=auto']]) {
      const { exitCode, stdout, stderr } = await ownerIn(image, ...flags)
      expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
      expectOneLine(stderr, line)
    }
    const { exitCode, stdout, stderr } = await machine.tscrun(['create', '--network', 'none', image, '/bin/stat'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
    expectOneLine(stderr, line)
  })

  it('is an error, too, where the ids of another container are joined', async () => {
    const begun = ['run', '-d', '--name', 'target', '--network', 'none', '--rootfs', `${machine.rootfs}:O`]
    expect(await machine.tscrun([...begun, '/bin/sleep', '1000'])).toMatchObject({ exitCode: 0, stderr: '' })
    try {
      const { exitCode, stderr } = await ownerIn('localhost/user:1', '--ipc', 'container:target')
      expect(exitCode).toBe(125)
      expectOneLine(
        stderr,
        /^tscrun: localhost\/user:1: it has files of id 65536, and the container's ids are 0 to 65535 /,
      )
    } finally {
      await machine.tscrun(['rm', '-f', '-t', '0', 'target'])
    }
  })

  it.each(['--userns=host', '--privileged'])('is itself with all ids of the host (%s)', async (flag) => {
    expect(await ownerIn('localhost/user:1', flag)).toMatchObject({ exitCode: 0, stdout: '65536:0\n', stderr: '' })
  })

  it('is nobody that a command could run as', async () => {
    const ids = "and the container's ids are 0 to 65535 \\(--userns=host"
    const image = 'localhost/ordinary:1'
    for (const [flag, user, id] of [
      ['--user=65536', '65536', 65_536],
      ['--user=0:70000', '0:70000', 70_000],
      ['--group-add=70001', '0', 70_001],
    ] as const) {
      const { exitCode, stdout, stderr } = await ownerIn(image, flag)
      expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
      expectOneLine(stderr, new RegExp(`^tscrun: user ${user}: it needs id ${id}, ${ids}`))
    }
    expect(await ownerIn(image, '--user=65536', '--userns=host')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await ownerIn(image, '--user=65535')).toMatchObject({ exitCode: 0, stderr: '' })
  })

  it('is none of the first 65,536', async () => {
    expect(await ownerIn('localhost/ordinary:1', '--userns=auto')).toMatchObject({
      exitCode: 0,
      stdout: '65535:65535\n',
      stderr: '',
    })
  })
})
