import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, checkedNumber, invalidLimit } from './writes.ts'

/** Writes for huge pages in bytes by page size (`2MB`, `1GB`, `64KB`, as the kernel names its files). */
export function hugetlbWrites(limits: NonNullable<OciResources['hugepageLimits']>): CgroupWrite[] {
  return limits.flatMap(({ pageSize, limit }) => {
    if (!/^[1-9][0-9]{0,3}[KMG]B$/.test(pageSize)) {
      throw invalidLimit('hugepage size', `${JSON.stringify(pageSize)} is no page size`, 'such as 2MB or 1GB')
    }
    const value = String(checkedNumber(`hugepage limit of ${pageSize}`, limit))
    return [
      { controller: 'hugetlb', file: `hugetlb.${pageSize}.max`, value },
      {
        controller: 'hugetlb',
        file: `hugetlb.${pageSize}.rsvd.max`,
        value,
        // Pages that are reserved but not yet used otherwise end in SIGBUS instead of a failing mmap.
        optional: 'a kernel that does not count reserved pages; the limit on used ones holds',
      },
    ]
  })
}
