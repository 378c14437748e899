import type { TopTable } from '../../engine/top/top.ts'
import { oneLine } from '../errors.ts'
import { alignColumns } from './table.ts'

/** What processes call themselves does not reach the terminal as it is. */
export function formatTop({ titles, processes }: TopTable): string {
  return alignColumns([titles, ...processes].map((row) => row.map(oneLine)))
}
