import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { filesystemOf } from '../src/overlayfs/support.ts'

/**
 * New directories for all that a bench makes, on the disk and in memory; see `Stage`. They go when the process ends, also by
 * an error or a signal that can be caught.
 */
export function makeWorkplace(): { readonly work: string; readonly run: string } {
  // On the disk that stores lie on: /tmp may be memory.
  const work = mkdtempSync('/var/tmp/tscrun-bench-')
  const run = mkdtempSync(`${filesystemOf('/run') === 'tmpfs' ? '/run' : '/dev/shm'}/tscrun-bench-`)
  process.once('exit', () => {
    for (const directory of [work, run]) remove(directory)
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]))
  }
  // Root of a user namespace is nobody here, and must reach its root filesystem.
  chmodSync(work, 0o711)
  // What registries and peers put aside, too.
  const temporary = join(work, 'tmp')
  mkdirSync(temporary)
  process.env['TMPDIR'] = temporary
  return { work, run }
}

/** podman leaves its store mounted. */
function remove(directory: string): void {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/^(?:\S+ ){4}(\S+)/gm)
  const below = [...mounted].map(([, path = '']) => path).filter((path) => path.startsWith(`${directory}/`))
  for (const path of below.toReversed()) spawnSync('umount', ['--lazy', path], { stdio: 'inherit' })
  rmSync(directory, { recursive: true, force: true })
}
