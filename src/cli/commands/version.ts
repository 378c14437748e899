import { readFileSync } from 'node:fs'
import { VERSION } from '../../model/version.ts'
import type { Command } from '../command.ts'
import { REPORT_FLAGS } from '../flags/store.ts'
import { print } from '../output/print.ts'

/** `tscrun --version`. */
export function versionLine(): string {
  return `tscrun version ${VERSION}\n`
}

export const versionCommand: Command = {
  name: 'version',
  usage: '',
  description: 'Show the version of tscrun, Node and the kernel',
  flags: REPORT_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags }) {
    const facts = {
      Version: VERSION,
      Node: process.version,
      OsArch: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
      // What node:os reports, without the time to load it.
      Kernel: process.platform === 'linux' ? readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim() : 'unknown',
    }
    const format = flags.text('format')
    if (format !== undefined && format !== '') {
      const { formatObject } = await import('../output/format.ts')
      print(await formatObject(facts, format))
      return 0
    }
    const lines = [
      ['Version:', facts.Version],
      ['Node:', facts.Node],
      ['OS/Arch:', facts.OsArch],
      ['Kernel:', facts.Kernel],
    ] as const
    print(lines.map(([key, value]) => `${key.padEnd(10)}${value}\n`).join(''))
    return 0
  },
}
