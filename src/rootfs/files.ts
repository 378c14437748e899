import type { LaunchSpec } from '../model/launch.ts'
import { MS, OPEN_TREE_CLONE } from '../model/linux.ts'
import { TARGET, type FdSlot, type Step } from '../model/step.ts'

export interface FileSteps {
  readonly parent: readonly Step[]
  readonly receive: readonly Step[]
  readonly place: readonly Step[]
}

/** /etc/hosts and its kin: written into the container's directory, owned by its root, bound into place. */
export function fileSteps(files: LaunchSpec['files'], owner: { rootUid: number; rootGid: number }): FileSteps {
  const parent: Step[] = []
  const receive: Step[] = []
  const place: Step[] = []
  for (const [index, file] of files.entries()) {
    const slot: FdSlot = `fd:file${index}`
    const target: FdSlot = `fd:filetarget${index}`
    parent.push(
      { op: 'create_file', dir: 'fd:directory', path: file.name, mode: 0o644, bytes: file.content, about: `write ${file.target}` },
      { op: 'chown', dir: 'fd:directory', path: file.name, uid: owner.rootUid, gid: owner.rootGid },
      { op: 'open_tree', fd: slot, dir: 'fd:directory', path: file.name, flags: OPEN_TREE_CLONE },
      { op: 'mount_setattr', mount: slot, at: 0, set: 0, clear: 0, propagation: MS.PRIVATE, userns: 'none' },
      { op: 'send_fd', fd: slot },
    )
    receive.push({ op: 'recv_fd', fd: slot })
    const about = `place ${file.target}`
    place.push(
      { op: 'target', fd: target, root: 'fd:rootfs', path: file.target, kind: TARGET.file, mode: 0o644, like: 'none', about },
      { op: 'move_mount', mount: slot, dir: target, path: '', about },
    )
  }
  return { parent, receive, place }
}
