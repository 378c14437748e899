import type { ContainerView } from '../state/containers-view.ts'

/**
 * The order in which to start containers: as they were made, but whose namespaces a container joins comes before it.
 * `views` as viewContainers gives them, newest first.
 */
export function startOrder(views: readonly ContainerView[]): ContainerView[] {
  const byId = new Map(views.toReversed().map((view) => [view.record.id, view]))
  const ordered = new Set<ContainerView>()
  // What joins one another cannot be a circle: who is joined was there first.
  const add = (view: ContainerView): void => {
    for (const { container } of view.record.launch?.joins ?? []) {
      const target = byId.get(container)
      if (target !== undefined && !ordered.has(target)) add(target)
    }
    ordered.add(view)
  }
  for (const view of byId.values()) add(view)
  return [...ordered]
}
