import type { OciConfig } from '../model/config.ts'
import { O } from '../model/linux.ts'
import type { Step } from '../model/step.ts'
import { EMPTY_DIRECTORY } from './dev.ts'

/** Masked and read-only paths; what a kernel does not have needs no cover. */
export function protectSteps(config: OciConfig): Step[] {
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
      { op: 'open', fd: 'fd:null', dir: 'fd:dev', path: 'null', flags: O.PATH | O.NOFOLLOW, mode: 0, resolve: 0 },
      {
        op: 'open',
        fd: 'fd:empty',
        dir: 'fd:dev',
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

/** The covers keep the directory alive; without a name nothing can be put into it. */
export function removeEmptyDirectory(): Step[] {
  return [{ op: 'rmdir', dir: 'fd:dev', path: EMPTY_DIRECTORY }]
}
