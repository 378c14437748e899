import type { Packing } from '../../images/packer.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'

const LEVELS = { gzip: 9, zstd: 22 } as const

/** How `push` packs layers anew, by its flags; nothing where they stay. Throws USAGE. */
export function parsePacking(flags: FlagValues): { readonly packing?: Packing } {
  const [format, level, force] = [
    flags.text('compression-format'),
    flags.text('compression-level'),
    flags.bool('force-compression'),
  ]
  if (format === undefined && level === undefined && !force) return {}
  if (format !== undefined && format !== 'gzip' && format !== 'zstd') {
    throw badFlag('compression-format', format, 'unknown', 'gzip or zstd')
  }
  const chosen = format ?? 'gzip'
  const packing: Packing = { format: chosen, force }
  return { packing: level === undefined ? packing : { ...packing, level: parseLevel(level, LEVELS[chosen]) } }
}

function parseLevel(text: string, most: number): number {
  const level = /^\d{1,2}$/.test(text) ? Number(text) : 0
  if (level >= 1 && level <= most) return level
  throw badFlag('compression-level', text, 'no level', `a number from 1 to ${most}`)
}
