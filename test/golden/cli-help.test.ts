import { describe, expect, it } from 'vitest'
import { commandHelp, groupHelp, topHelp } from '../../src/cli/help.ts'
import { GROUPS } from '../../src/cli/groups.ts'
import { ENTRIES } from '../../src/cli/registry.ts'

describe('the help on 80 columns', () => {
  it('of tscrun', async () => {
    await expect(topHelp(80)).toMatchFileSnapshot('cli-help/tscrun.txt')
  })

  it.each(GROUPS.map((group) => [group.name, group] as const))('of tscrun %s', async (name, group) => {
    await expect(groupHelp(group, 80)).toMatchFileSnapshot(`cli-help/${name}.txt`)
  })

  it.each(ENTRIES.map((entry) => [entry.name, entry] as const))('of tscrun %s', async (name, entry) => {
    await expect(commandHelp(await entry.load(), 80)).toMatchFileSnapshot(`cli-help/${name}.txt`)
  })
})
