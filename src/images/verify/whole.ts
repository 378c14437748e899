import * as fs from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { openOnHost, xattrsOf } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import { listLayer, mergeListings } from '../extractor/merge.ts'
import { inDirectory, show } from '../extractor/names.ts'
import { isHarmless } from '../xattrs.ts'
import { contentHash } from './content.ts'

/** Most differences that are told one by one. */
const MOST_TOLD = 20

/** Compares the copy of several layers with what these show together; answers a line for each difference. */
export function compareWhole(whole: string, layers: readonly string[]): readonly string[] {
  const lines: string[] = []
  try {
    for (const line of differences(Buffer.from(whole), layers.map((layer) => Buffer.from(layer)).toReversed())) {
      if (lines.length === MOST_TOLD) return [...lines, 'and more']
      lines.push(line)
    }
  } catch (error) {
    if (!(error instanceof TscrunError) && errnoOf(error) === undefined) throw error
    lines.push(`cannot be compared: ${(error as Error).message}`)
  }
  return lines
}

/** @param layers the topmost first */
function* differences(whole: Buffer, layers: readonly Buffer[]): Generator<string> {
  const places = [{ path: Buffer.alloc(0) as Buffer, parts: layers }]
  // It grows while it is walked: a directory comes after the one it is in.
  for (const { path, parts } of places) {
    const wanted = mergeListings(parts.map((layer) => listLayer(inDirectory(layer, path))))
    const there = new Set(fs.readdirSync(inDirectory(whole, path), { encoding: 'latin1' }))
    for (const { name, from } of wanted) {
      const child = inDirectory(path, name)
      const owners = from.flatMap((part) => parts[part] ?? [])
      if (!there.delete(name.toString('latin1')) || owners[0] === undefined) {
        yield `${show(child)} is missing`
        continue
      }
      const what = differenceOf(inDirectory(whole, child), inDirectory(owners[0], child))
      if (what !== undefined) yield `${show(child)} ${what}`
      else if (fs.lstatSync(inDirectory(whole, child)).isDirectory()) places.push({ path: child, parts: owners })
    }
    for (const name of there) yield `${show(inDirectory(path, Buffer.from(name, 'latin1')))} is of no layer`
  }
}

function differenceOf(copy: Buffer, original: Buffer): string | undefined {
  const [a, b] = [fs.lstatSync(copy, { bigint: true }), fs.lstatSync(original, { bigint: true })]
  if (a.mode !== b.mode) return `has mode ${a.mode.toString(8)}, not ${b.mode.toString(8)}`
  if (a.uid !== b.uid || a.gid !== b.gid) return `belongs to ${a.uid}:${a.gid}, not ${b.uid}:${b.gid}`
  if (a.rdev !== b.rdev) return 'is another device'
  if (a.mtimeNs !== b.mtimeNs) return 'has another time'
  if (a.isSymbolicLink()) {
    const text = (path: Buffer): Buffer => fs.readlinkSync(path, { encoding: 'buffer' })
    return text(copy).equals(text(original)) ? undefined : `links to ${show(text(copy))}`
  }
  return differenceInside(copy, original, a.isFile() && a.size !== b.size ? `has ${a.size} bytes, not ${b.size}` : a)
}

function differenceInside(copy: Buffer, original: Buffer, stats: fs.BigIntStats | string): string | undefined {
  if (typeof stats === 'string') return stats
  const flags = openFlags.path | openFlags.nofollow
  const [a, b] = [openOnHost(copy, flags), openOnHost(original, flags)]
  try {
    const isCarried = (name: string): boolean => name === 'security.capability' || isHarmless(name)
    const [ours, theirs] = [xattrsOf(a, isCarried), xattrsOf(b, isCarried)]
    const same =
      ours.size === theirs.size && [...ours].every(([name, value]) => theirs.get(name)?.equals(value) === true)
    if (!same) return 'has other attributes'
    return stats.isFile() && contentHash(a, 'sparse') !== contentHash(b, 'sparse') ? 'has other content' : undefined
  } finally {
    closeFd(a)
    closeFd(b)
  }
}
