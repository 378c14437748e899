import { readRecord as readImageRecord } from '../../../images/record.ts'
import { findSnapshot } from '../../../images/snapshot.ts'
import type { ImageStore } from '../../../images/store.ts'
import type { Digest } from '../../../model/digest.ts'
import { mountedImages } from '../../image-verbs/mounts.ts'
import type { EnginePaths } from '../../paths.ts'
import { containerIds, readRecord } from '../../state/containers.ts'
import { isHeld } from '../../state/directory-lock.ts'
import { join } from 'node:path'
import { TscrunError } from '../../../model/errors.ts'
import type { ContainerRecord } from '../../state/record.ts'
import { sweep } from '../../state/sweep.ts'
import { checkContainers } from './containers.ts'
import { checkEvents, checkMountPoints, checkNetworks, checkOrphans, checkPrepared, checkVolumes } from './files.ts'
import type { CheckFinding, CheckResult } from './finding.ts'
import { checkImages, checkIndex, checkLeftovers, type ImagesCheck } from './images.ts'

export interface CheckOptions {
  /** Reads no blobs of layers and compares no files. */
  readonly quick?: boolean
  /** Puts right what can be. */
  readonly repair?: boolean
  /** With `repair`: also removes containers whose record is lost. */
  readonly force?: boolean
  readonly signal?: AbortSignal
}

/** Looks a whole store over. Nothing of a container that runs is ever changed. */
export async function checkStore(
  paths: EnginePaths,
  store: ImageStore,
  options: CheckOptions = {},
): Promise<readonly CheckResult[]> {
  if (!store.exists() && containerIds(paths).length === 0) return []
  const images = imagesCheck(paths, store, options)
  const index = checkIndex(images)
  const results = [...(await settle(index, options.repair === true))]
  // What an index that cannot be read leads to is not known.
  const readable = results.every(({ mended, subject }) => mended || subject !== store.paths.index)
  const repair = options.repair === true
  if (readable) results.push(...(await settle(await checkImages(images), repair)))
  // Only now: what an image gets back its containers have back, too.
  const findings = [...(readable ? checkLeftovers(images) : []), ...otherFindings(paths, store, options)]
  return [...results, ...(await settleAll(paths, store, findings, repair))]
}

function otherFindings(
  paths: EnginePaths,
  store: ImageStore,
  { force = false }: CheckOptions,
): readonly CheckFinding[] {
  // Of one that is in no list the record and the layers stay while a container has it.
  const hasImage = (id: string): boolean => isThere(store, id as Digest)
  return [
    ...checkContainers({ paths, force, hasImage }),
    ...checkOrphans(paths),
    ...checkVolumes(paths),
    ...checkNetworks(paths),
    ...checkEvents(paths),
    ...checkPrepared(paths),
    ...checkMountPoints(paths),
  ]
}

function isThere({ paths }: ImageStore, id: Digest): boolean {
  const record = readImageRecord(paths, id)
  return record !== undefined && findSnapshot(paths, record.chain) !== undefined
}

/** What can be put right one by one first; then what the usual ways put right, which look at all there is. */
async function settleAll(
  paths: EnginePaths,
  store: ImageStore,
  findings: readonly CheckFinding[],
  repair: boolean,
): Promise<readonly CheckResult[]> {
  const results = new Map<CheckFinding, CheckResult>()
  const single = findings.filter(({ mend }) => mend !== 'sweep' && mend !== 'collect')
  for (const [at, result] of (await settle(single, repair)).entries()) {
    const finding = single[at]
    if (finding !== undefined) results.set(finding, result)
  }
  const isWanted = (mend: 'sweep' | 'collect'): boolean => repair && findings.some((finding) => finding.mend === mend)
  const swept =
    (isWanted('sweep') || (repair && single.some(({ mend }) => mend !== undefined))) &&
    (await unlessDamaged(async () => void (await sweep(paths, 'all'))))
  const collected = isWanted('collect') && (await unlessDamaged(() => store.collect()))
  return findings.map((finding) => {
    const done = finding.mend === 'sweep' ? swept : collected
    return results.get(finding) ?? resultOf(finding, done)
  })
}

/** False where a damaged record of a container ends it, or somebody is in the way. */
async function unlessDamaged(mend: () => Promise<boolean | void>): Promise<boolean> {
  try {
    return (await mend()) !== false
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'STORE') return false
    throw error
  }
}

async function settle(findings: readonly CheckFinding[], repair: boolean): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = []
  for (const finding of findings) {
    const mended = repair && typeof finding.mend === 'function' && (await finding.mend())
    results.push(resultOf(finding, mended))
  }
  return results
}

function resultOf({ about, subject, what, hint, mend }: CheckFinding, mended: boolean): CheckResult {
  return { about, subject, what, mended, mendable: mend !== undefined, ...(hint === undefined ? {} : { hint }) }
}

function imagesCheck(paths: EnginePaths, store: ImageStore, { quick = false, signal }: CheckOptions): ImagesCheck {
  const busy = new Map<string, string>()
  const used = new Set<string>()
  for (const id of containerIds(paths)) {
    const record = recordUnlessDamaged(paths, id)
    if (record?.imageId === undefined) continue
    used.add(record.imageId)
    if (isHeld(join(paths.containers, id))) busy.set(record.imageId, `container ${record.name}`)
  }
  for (const { id, path } of mountedImages(paths)) {
    used.add(id)
    busy.set(id, `mounted on ${path}`)
  }
  return { paths, store, quick, busy, used, ...(signal === undefined ? {} : { signal }) }
}

function recordUnlessDamaged(paths: EnginePaths, id: string): ContainerRecord | undefined {
  try {
    return readRecord(paths, id)
  } catch (error) {
    if (error instanceof TscrunError) return undefined
    throw error
  }
}
