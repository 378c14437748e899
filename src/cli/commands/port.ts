import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'

export const portCommand: Command = {
  name: 'port',
  usage: 'CONTAINER [PORT[/PROTOCOL]]',
  description: 'List the ports of the host that lead to a container',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: 2, noun: 'container' },
  async run({ operands, engine }) {
    const [container = '', wanted] = operands
    const ports = await (await (await engine()).networks()).ports(container)
    const asked = wanted === undefined || wanted.includes('/') ? wanted : `${wanted}/tcp`
    const lines = ports.flatMap(({ protocol, containerPort, hostIp = '0.0.0.0', hostPort }) => {
      const inside = `${containerPort}/${protocol}`
      const outside = `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:${hostPort}`
      if (asked === undefined) return `${inside} -> ${outside}\n`
      return inside === asked.toLowerCase() ? `${outside}\n` : []
    })
    if (wanted !== undefined && lines.length === 0) {
      throw new TscrunError('USAGE', `port ${container} ${wanted}: it is not published`, {
        subject: wanted,
        hint: `\`tscrun port ${container}\` lists those that are`,
      })
    }
    print(lines.join(''))
    return 0
  },
}
