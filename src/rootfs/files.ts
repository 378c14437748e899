import type { LaunchSpec } from '../model/launch.ts'
import { FSCONFIG, MOUNT_ATTR, OPEN_TREE_CLONE } from '../model/linux.ts'
import { TARGET, type FdSlot, type Step } from '../model/step.ts'

export interface FileSteps {
  readonly parent: readonly Step[]
  readonly receive: readonly Step[]
  readonly attach: readonly Step[]
  /** Child: each of them as a mount of its own, after which their filesystem itself is not needed. */
  readonly clone: readonly Step[]
  readonly place: readonly Step[]
}

interface FileOwner {
  readonly rootUid: number
  readonly rootGid: number
  /** Where the child attaches their filesystem, under the root: before Linux 6.15 only what is attached can be cloned. */
  readonly attachAt: string
}

/** /etc/hosts and its kin: made in a small filesystem in memory, owned by the container's root, bound into place. */
export function fileSteps(files: LaunchSpec['files'], owner: FileOwner): FileSteps {
  if (files.length === 0) return { parent: [], receive: [], attach: [], clone: [], place: [] }
  const set = (key: string, value: string): Step => ({
    op: 'fsconfig',
    fs: 'fd:filesfs',
    command: FSCONFIG.SET_STRING,
    key,
    value,
  })
  const parent: Step[] = [
    { op: 'fsopen', fs: 'fd:filesfs', type: 'tmpfs' },
    set('source', 'tmpfs'),
    // What the container appends to them is bounded.
    set('size', '1m'),
    set('uid', String(owner.rootUid)),
    set('gid', String(owner.rootGid)),
    {
      op: 'fsconfig',
      fs: 'fd:filesfs',
      command: FSCONFIG.CMD_CREATE,
      key: '',
      value: '',
      about: 'make the filesystem for /etc/hosts and its kin',
    },
    {
      op: 'fsmount',
      mount: 'fd:files',
      fs: 'fd:filesfs',
      attributes: MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC,
    },
  ]
  for (const file of files) {
    parent.push(
      {
        op: 'create_file',
        dir: 'fd:files',
        path: file.name,
        mode: 0o644,
        bytes: file.content,
        about: `write ${file.target}`,
      },
      { op: 'chown', dir: 'fd:files', path: file.name, uid: owner.rootUid, gid: owner.rootGid },
    )
  }
  parent.push({ op: 'send_fd', fd: 'fd:files' })
  const clone = files.map(({ name }, index): Step => {
    return { op: 'open_tree', fd: `fd:file${index}`, dir: 'fd:files', path: name, flags: OPEN_TREE_CLONE }
  })
  const place = files.flatMap((file, index): Step[] => {
    const [slot, target]: [FdSlot, FdSlot] = [`fd:file${index}`, `fd:filetarget${index}`]
    const about = `place ${file.target}`
    return [
      {
        op: 'target',
        fd: target,
        root: 'fd:rootfs',
        path: file.target,
        kind: TARGET.file,
        mode: 0o644,
        like: 'none',
        about,
      },
      { op: 'move_mount', mount: slot, dir: target, path: '', about },
    ]
  })
  const receive: Step[] = [{ op: 'recv_fd', fd: 'fd:files' }]
  const attach: Step[] = [
    {
      op: 'move_mount',
      mount: 'fd:files',
      dir: 'cwd',
      path: owner.attachAt,
      about: 'keep the filesystem of /etc/hosts at hand',
    },
  ]
  return { parent, receive, attach, clone, place }
}
