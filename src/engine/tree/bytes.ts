import { fstatSync, lstatSync, type Stats } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { closeFd } from '../../syscall/process.ts'
import { openPlace, walkTree } from './walk.ts'

/** What a directory takes on the disk, a file with several names once, as du(1) counts; 0 where there is none. */
export function treeBytes(path: string): number {
  const root = openUnlessGone(path)
  if (root === undefined) return 0
  const linked = new Set<string>()
  try {
    let bytes = fstatSync(root).blocks * 512
    walkTree(root, (directory, name) => {
      const stats = lstatSync(Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name]))
      if (!isCounted(stats, linked)) bytes += stats.blocks * 512
    })
    return bytes
  } finally {
    closeFd(root)
  }
}

function openUnlessGone(path: string): number | undefined {
  try {
    return openPlace(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function isCounted(stats: Stats, linked: Set<string>): boolean {
  if (stats.nlink === 1 || stats.isDirectory()) return false
  const key = `${stats.dev}:${stats.ino}`
  if (linked.has(key)) return true
  linked.add(key)
  return false
}
