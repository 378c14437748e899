import type { VolumeSummary } from '../../engine/volumes/verbs.ts'

/** Headings by template field, as docker has them. */
export const VOLUME_HEADINGS = {
  Driver: 'DRIVER',
  Name: 'VOLUME NAME',
  Mountpoint: 'MOUNTPOINT',
  Scope: 'SCOPE',
  Labels: 'LABELS',
  Links: 'LINKS',
  CreatedAt: 'CREATED AT',
} as const

export function volumeRow(volume: VolumeSummary): Readonly<Record<keyof typeof VOLUME_HEADINGS, string>> {
  return {
    Driver: 'local',
    Name: volume.name,
    Mountpoint: volume.mountpoint,
    Scope: 'local',
    Labels: Object.entries(volume.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Links: String(volume.containers.length),
    CreatedAt: new Date(volume.createdMs).toISOString(),
  }
}
