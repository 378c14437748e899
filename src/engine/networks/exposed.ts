import { TscrunError } from '../../model/errors.ts'
import type { PublishedPort } from '../../model/launch.ts'
import { type ExposedPorts, formatExposed, parseExposed } from '../../model/port.ts'
import type { RunOptions } from '../../model/run-options.ts'

/** A port of the host takes two sockets and a rule. */
const MOST = 1000

/** What a container says it serves: by its image, and by who starts it. An image's words that are no ports are passed over. */
export function exposedPorts(image: readonly string[], { expose = [] }: Pick<RunOptions, 'expose'>): string[] {
  const known = [...image, ...expose].flatMap((text) => parseExposed(text) ?? [])
  return [...new Set(known.map(formatExposed))]
}

/** `--publish-all`: for each port that is exposed and not published one of the host, which is any free one. Throws USAGE. */
export function publishAll(image: readonly string[], run: Pick<RunOptions, 'expose' | 'ports'>): PublishedPort[] {
  const { ports = [] } = run
  const exposed = exposedPorts(image, run).flatMap((text) => parseExposed(text) ?? [])
  const count = exposed.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  if (count > MOST) {
    throw new TscrunError('USAGE', `--publish-all: ${count} ports are exposed, at most ${MOST} can be published so`, {
      hint: 'name those that are wanted with -p',
    })
  }
  const isPublished = (port: PublishedPort): boolean =>
    ports.some(({ protocol, containerPort }) => protocol === port.protocol && containerPort === port.containerPort)
  return [...ports, ...exposed.flatMap(singly).filter((port) => !isPublished(port))]
}

function singly({ protocol, first, last }: ExposedPorts): PublishedPort[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    protocol,
    hostPort: 0,
    containerPort: first + index,
  }))
}
