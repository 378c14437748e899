import type { EngineEvent } from '../../engine/events/events.ts'
import { oneLine } from '../errors.ts'

const SECOND_NS = 1_000_000_000n

/** `2026-01-02T03:04:05.000000006Z container start 3f2a... (image=alpine, name=web)`: as docker prints it, in UTC. */
export function eventLine(event: EngineEvent): string {
  const attributes = Object.entries(event.attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(', ')
  return oneLine(`${timeOf(event)} ${event.type} ${event.action} ${event.id} (${attributes})`)
}

/** docker's JSON, the older keys included. */
export function eventJson(event: EngineEvent): string {
  const { type, action, id, attributes, timeNs } = event
  const older = type === 'container' ? { status: action, id, from: attributes['image'] ?? '' } : { status: action, id }
  const object = { ...older, Type: type, Action: action, Actor: { ID: id, Attributes: attributes }, scope: 'local' }
  return `${JSON.stringify(object).slice(0, -1)},"time":${timeNs / SECOND_NS},"timeNano":${timeNs}}`
}

/** What templates know it by: docker's names, and those of podman beside them. */
export function eventFields(event: EngineEvent): Readonly<Record<string, unknown>> {
  const { type, action, id, attributes, timeNs } = event
  const [, health = ''] = /^health_status: (.*)$/s.exec(action) ?? []
  return {
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    Scope: 'local',
    Time: Number(timeNs / SECOND_NS),
    TimeNano: Number(timeNs),
    Status: action,
    ID: id,
    From: attributes['image'] ?? '',
    Image: attributes['image'] ?? '',
    Name: attributes['name'] ?? '',
    Attributes: attributes,
    ContainerExitCode: attributes['exitCode'] === undefined ? null : Number(attributes['exitCode']),
    HealthStatus: health,
  }
}

/** RFC 3339 with nanoseconds. */
function timeOf({ timeNs }: EngineEvent): string {
  const seconds = new Date(Number(timeNs / SECOND_NS) * 1000).toISOString().slice(0, 19)
  return `${seconds}.${String(timeNs % SECOND_NS).padStart(9, '0')}Z`
}
