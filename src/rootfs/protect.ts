import type { OciConfig } from '../model/config.ts'
import { O } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'
import { EMPTY_DIRECTORY } from './dev.ts'

/**
 * Masked and read-only paths; what a kernel does not have needs no cover.
 *
 * @param covers a directory with the null device and an empty directory
 */
export function protectSteps(config: OciConfig, covers: FdSlot): Step[] {
  const { maskedPaths = [], readonlyPaths = [] } = config.linux ?? {}
  const steps: Step[] = readonlyPaths.map((path) => ({
    op: 'readonly_path',
    root: 'fd:rootfs',
    path,
    tolerate: ['ENOENT', 'ENOTDIR'],
    because: 'this kernel does not have it',
  }))
  if (maskedPaths.length > 0) {
    steps.push(
      { op: 'open', fd: 'fd:null', dir: covers, path: 'null', flags: O.PATH | O.NOFOLLOW, mode: 0, resolve: 0 },
      {
        op: 'open',
        fd: 'fd:empty',
        dir: covers,
        path: EMPTY_DIRECTORY,
        flags: O.PATH | O.DIRECTORY | O.NOFOLLOW,
        mode: 0,
        resolve: 0,
      },
    )
    for (const path of maskedPaths) {
      steps.push({
        op: 'mask_path',
        root: 'fd:rootfs',
        path,
        null: 'fd:null',
        empty: 'fd:empty',
        tolerate: ['ENOENT', 'ENOTDIR'],
        because: 'this kernel does not have it',
      })
    }
  }
  return steps
}
