import type { EventLaunch } from '../../model/launch.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'

/** EVENT_ATTRIBUTES_BYTES of native/events.h, and room for the id of an exec. */
const MOST_BYTES = 8192 - 128

/** EVENT_VOLUMES_BYTES of native/events.h. */
const MOST_VOLUME_BYTES = 4096

type Described = Pick<ContainerRecord, 'image' | 'labels' | 'name' | 'remove' | 'mounts'>

/** What goes with every event of a container beside its name: its image and its labels, unless these are too much. */
export function eventAttributes({ image, labels }: Pick<ContainerRecord, 'image' | 'labels'>): Record<string, string> {
  const all = { ...labels, image }
  const fits = Buffer.byteLength(JSON.stringify(all)) <= MOST_BYTES
  return fits ? all : { image: image.slice(0, 1024) }
}

/** What a container's monitor is to tell of its life. `creates`: nobody has told yet that it was made. */
export function eventLaunch(paths: EnginePaths, record: Described, creates: boolean): EventLaunch {
  return {
    path: paths.events,
    name: record.name,
    attributes: JSON.stringify(eventAttributes(record)).slice(1, -1),
    creates,
    removes: record.remove,
    volumes: toldVolumes(record),
  }
}

/** Of so many that there is no room the last ones are not told. */
function toldVolumes({ mounts }: Described): EventLaunch['volumes'] {
  let left = MOST_VOLUME_BYTES
  return (mounts ?? []).flatMap((mount) => {
    if (mount.source !== undefined) return []
    const { volume: name, target, readonly = false } = mount
    const attributes = `,${JSON.stringify({ destination: target, 'read/write': String(!readonly) }).slice(1, -1)}`
    left -= Buffer.byteLength(name) + Buffer.byteLength(attributes) + 2
    return left < 0 ? [] : [{ name, attributes }]
  })
}
