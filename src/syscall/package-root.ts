import { basename, dirname } from 'node:path'

/**
 * The directory of tscrun's own package.json: the sources (src/syscall/) and the files of dist/cli and dist/lib lie two
 * levels below it, dist/index.js one.
 */
export function packageRoot(): string {
  const here = import.meta.dirname
  return basename(here) === 'dist' ? dirname(here) : dirname(dirname(here))
}
