// A container for each test, gone when the test is. Copy it into a project that has tscrun and vitest: npx vitest run
import { run } from 'tscrun'
import { describe, expect, it } from 'vitest'

const image = process.env.IMAGE ?? 'alpine'

describe('a program in a clean system', () => {
  it('reads its input and writes its output', async () => {
    const { stdout } = await run(image, ['tr', 'a-z', 'A-Z'], { input: 'hello' })
    expect(stdout).toBe('HELLO')
  })

  it('sees nothing of the network', async () => {
    const { stdout } = await run(image, ['cat', '/proc/net/dev'], { network: 'none' })
    const interfaces = stdout.match(/^ *\w+:/gm)?.map((name) => name.trim())
    expect(interfaces).toEqual(['lo:'])
  })

  it('fails where it must', async () => {
    const { exitCode, stderr } = await run(image, ['ls', '/nowhere'], { reject: false })
    expect(exitCode).not.toBe(0)
    expect(stderr).toContain('/nowhere')
  })
})
