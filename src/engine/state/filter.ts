import type { ContainerFilter, ContainerSummary } from '../api.ts'

/**
 * Each list is "any of"; all lists must hold. `before` and `since` are who lists them to look at.
 *
 * @param ancestors ids of the images that `ancestor` names
 */
export function matchesFilter(
  summary: ContainerSummary,
  filter: ContainerFilter,
  ancestors: readonly string[] = [],
): boolean {
  const any = <T>(list: readonly T[] | undefined, test: (wanted: T) => boolean): boolean =>
    list === undefined || list.some(test)
  const { imageId } = summary
  return (
    any(filter.id, (id) => summary.id.startsWith(id)) &&
    any(filter.name, (pattern) => matchesName(summary.name, pattern)) &&
    any(filter.status, (status) => summary.status === status) &&
    any(filter.ancestor, (image) => summary.image === image || isOf(imageId, [image, ...ancestors])) &&
    any(filter.exited, (code) => summary.exitCode === code) &&
    any(filter.health, (health) => (summary.health ?? 'none') === health) &&
    any(filter.volume, (volume) => summary.mounts.includes(volume)) &&
    any(filter.network, (network) => summary.network.split(',').includes(network)) &&
    any(filter.publish, (wanted) => summary.ports.some((port) => isPublished(port, wanted))) &&
    any(filter.restartPolicy, (policy) => summary.restartPolicy === policy) &&
    any(filter.startsAtBoot, (wanted) => summary.startsAtBoot === wanted) &&
    (filter.untilMs ?? []).every((ms) => summary.createdMs < ms) &&
    (filter.label ?? []).every((label) => hasLabel(summary, label)) &&
    !(filter.noLabel ?? []).some((label) => hasLabel(summary, label))
  )
}

/** By whole ids, or the beginning of one. */
function isOf(imageId: string | undefined, images: readonly string[]): boolean {
  return images.some((image) => imageId === image || imageId?.startsWith(`sha256:${image}`) === true)
}

function isPublished(
  { protocol, containerPort }: ContainerSummary['ports'][number],
  wanted: NonNullable<ContainerFilter['publish']>[number],
): boolean {
  return protocol === wanted.protocol && containerPort >= wanted.first && containerPort <= wanted.last
}

/** A part of it, or a regular expression as docker takes it, to which a name may begin with a slash. */
function matchesName(name: string, pattern: string): boolean {
  if (name.includes(pattern)) return true
  try {
    const expression = new RegExp(pattern)
    return expression.test(name) || expression.test(`/${name}`)
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

function hasLabel(summary: ContainerSummary, label: string): boolean {
  const equals = label.indexOf('=')
  if (equals < 0) return Object.hasOwn(summary.labels, label)
  const key = label.slice(0, equals)
  return Object.hasOwn(summary.labels, key) && summary.labels[key] === label.slice(equals + 1)
}
