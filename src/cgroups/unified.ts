import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, invalidLimit } from './writes.ts'

/** Files that move processes, kill them or change the tree: they are tscrun's, not a limit. */
const RESERVED: readonly string[] = [
  'cgroup.freeze',
  'cgroup.kill',
  'cgroup.procs',
  'cgroup.subtree_control',
  'cgroup.threads',
  'cgroup.type',
]

/** Page sizes in hugetlb's file names are the one place with capital letters. */
const FILE = /^[a-z]+(?:\.(?:[a-z0-9_]+|[0-9]+[KMG]B))+$/

/**
 * Writes for any file of the cgroup by its name (`--cgroup-conf`, OCI `unified`). A value of several lines becomes
 * several writes, since files such as io.max take one line at a time.
 */
export function unifiedWrites(unified: NonNullable<OciResources['unified']>): CgroupWrite[] {
  return Object.entries(unified).flatMap(([file, text]) => {
    if (!FILE.test(file)) throw invalidLimit(`cgroup file ${JSON.stringify(file)}`, 'not the name of a controller file')
    if (RESERVED.includes(file)) throw invalidLimit(`cgroup file ${file}`, 'not a limit')
    if (!/^[\x20-\x7e\n]*$/.test(text)) throw invalidLimit(`cgroup file ${file}`, 'its value is not plain text')
    const lines = text.split('\n').filter((line) => line.trim() !== '')
    if (lines.length === 0) throw invalidLimit(`cgroup file ${file}`, 'without a value')
    return lines.map((value) => ({ controller: file.slice(0, file.indexOf('.')), file, value }))
  })
}
