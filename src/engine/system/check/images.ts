import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ImageStore } from '../../../images/store.ts'
import { type ImageFinding, verifyImages } from '../../../images/verify/image.ts'
import { findLeftovers, type Leftover } from '../../../images/verify/leftovers.ts'
import { isIndexDamaged, mendImage, rebuildIndex } from '../../../images/verify/repair.ts'
import type { EnginePaths } from '../../paths.ts'
import { type CheckFinding, shortId } from './finding.ts'

export interface ImagesCheck {
  readonly paths: EnginePaths
  readonly store: ImageStore
  readonly quick: boolean
  /** By id, who uses an image just now: a container that runs, a place where it is mounted. */
  readonly busy: ReadonlyMap<string, string>
  /** Ids of images that containers have, running or not. */
  readonly used: ReadonlySet<string>
  readonly signal?: AbortSignal
}

/** Of an index that cannot be read, nothing else can be told. */
export function checkIndex({ store }: ImagesCheck): readonly CheckFinding[] {
  const { paths } = store
  const found: CheckFinding[] = []
  if (!existsSync(join(paths.images, 'oci-layout'))) {
    const mend = async (): Promise<boolean> => {
      // Whoever holds a store makes it one.
      using _hold = await store.hold()
      return true
    }
    found.push({ about: 'index', subject: paths.images, what: 'is no OCI layout: it has no oci-layout', mend })
  }
  if (isIndexDamaged(paths)) {
    found.push({
      about: 'index',
      subject: paths.index,
      what: 'is missing or damaged',
      mend: () => rebuildIndex(paths),
      hint: 'what of it cannot be read comes back without a name: `tscrun images -a`, `tscrun tag`',
    })
  }
  return found
}

/** Every image, as `image verify` looks at it; without `quick` each file of each layer. */
export async function checkImages(check: ImagesCheck): Promise<readonly CheckFinding[]> {
  const { store, quick, signal } = check
  const found: CheckFinding[] = []
  const options = { deep: !quick, quick, ...(signal === undefined ? {} : { signal }) }
  using _hold = await store.hold(signal)
  for await (const { id, names, findings } of verifyImages(store.paths, store.entries(), options)) {
    const [name] = names
    let mended: Promise<boolean> | undefined
    // Once for all that is wrong with it.
    const mend = (): Promise<boolean> =>
      (mended ??= mendImage(store, id, { deep: !quick, quick }).then((how) => how === 'whole'))
    for (const finding of findings) found.push(findingOf(check, { id, name, finding, mend }))
  }
  return found
}

interface Found {
  readonly id: string
  readonly name: string | undefined
  readonly finding: ImageFinding
  readonly mend: () => Promise<boolean>
}

function findingOf({ busy }: ImagesCheck, { id, name, finding, mend }: Found): CheckFinding {
  const { part, digest, what } = finding
  const user = busy.get(id)
  const common = { about: 'image', subject: name ?? shortId(id), what: `${part} ${shortId(digest)}: ${what}` }
  if (user !== undefined) return { ...common, hint: `it is in use (${user}): nothing of it is changed meanwhile` }
  const hint = name === undefined ? 'remove the image, and get it again' : `get the rest with \`tscrun pull ${name}\``
  return { ...common, hint, mend }
}

/** What killed commands have left of images. */
export function checkLeftovers({ store, used }: ImagesCheck): readonly CheckFinding[] {
  return (findLeftovers(store.paths, used) ?? []).map(leftoverFinding)
}

const WORDS = {
  layer: 'no image has it',
  blob: 'no image has it',
  record: 'it is of no image',
  work: 'half-made: whoever made it has ended',
} as const

function leftoverFinding({ what, name }: Leftover): CheckFinding {
  return {
    about: what,
    subject: /^[0-9a-f]{64}$/.test(name) ? shortId(name) : name,
    what: WORDS[what],
    mend: 'collect',
  }
}
