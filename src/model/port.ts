import type { PublishedPort } from './launch.ts'

/** A port, or a range of them, that a container says it serves. */
export interface ExposedPorts {
  readonly protocol: PublishedPort['protocol']
  readonly first: number
  readonly last: number
}

/** `80`, `80/udp`, `8000-8010/tcp`, as EXPOSE and `--expose` have it; undefined for anything else. */
export function parseExposed(text: string): ExposedPorts | undefined {
  const [, from = '', to = from, word = 'tcp'] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-zA-Z]+))?$/.exec(text) ?? []
  const protocol = (['tcp', 'udp', 'sctp'] as const).find((name) => name === word.toLowerCase())
  const [first, last] = [Number(from), Number(to)]
  if (protocol === undefined || first < 1 || last > 65_535 || last < first) return undefined
  return { protocol, first, last }
}

/** `80/tcp`, `8000-8010/udp` */
export function formatExposed({ protocol, first, last }: ExposedPorts): string {
  return `${first}${last === first ? '' : `-${last}`}/${protocol}`
}
