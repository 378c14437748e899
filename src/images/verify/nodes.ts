import { OPAQUE, WHITEOUT } from '../extractor/marks.ts'
import { baseOf, inDirectory, parentOf, show } from '../extractor/names.ts'
import type { TscrunError } from '../../model/errors.ts'
import { badTar, type TarTime } from '../extractor/tar-numbers.ts'
import type { ContentForm } from './content.ts'

/** How a layer hides names of those below it: as overlayfs does, or by names; see extractor/marks.ts. */
export type MarkForm = 'overlay' | 'names'

/** One inode that is to be there; names that are one file have one node. */
export interface ExpectedNode {
  readonly type: 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'whiteout' | 'lower'
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly xattrs: ReadonlyMap<string, Buffer>
  /** Absent where nothing says when it was changed. */
  readonly mtime?: TarTime
  /** How many names it has. */
  links: number
  /** Of a file: bytes, holes included. */
  readonly size?: number
  readonly content?: { readonly form: ContentForm; readonly hash: string }
  readonly target?: Buffer
  readonly major?: number
  readonly minor?: number
  /** Of a directory, by name as latin1. */
  readonly children?: Map<string, ExpectedNode>
  opaque?: boolean
  /** Of `lower`: the path of the file in the layers below that was copied for a hard link to it. */
  readonly lower?: Buffer
}

/** A tree in memory that is changed as the layer writer changes one on the disk (extractor/tree.ts). */
export interface Nodes {
  readonly root: ExpectedNode
  /** What a path is; symlinks in its directories are followed, one at its end is not. */
  find(path: Buffer): ExpectedNode | undefined
  /** Puts a node under a name; who had the name before is gone, and missing directories are made. */
  create(path: Buffer, node: ExpectedNode): void
  /** The directory of this name: the one that is there, or a new one. */
  directory(path: Buffer): ExpectedNode
  makeDirectories(path: Buffer): void
  hide(path: Buffer): void
  opaque(path: Buffer): void
  /** Copies the file of a lower layer to its own place in this one, and links to it. */
  linkToLower(path: Buffer, target: Buffer): void
  /** Of a directory, which has it once all is there. */
  setDirectoryTime(path: Buffer, time: TarTime): void
  /** Sets the times of directories; answers those no member described. */
  finish(): readonly Buffer[]
}

const MAX_LINKS = 40
const SETGID = 0o2000

export function createNodes(marks: MarkForm): Nodes {
  const root = newDirectory(0o755, 0)
  const implied = new Set<string>([''])
  const times = new Map<string, TarTime>()
  /** Directories that were changed after they had been given their times. */
  const touched = new Set<ExpectedNode>()

  /** The node a path leads to, with all its links followed below this root, as the kernel does it. */
  function walk(path: Buffer, last: 'follow' | 'keep', budget = { links: MAX_LINKS }): ExpectedNode | undefined {
    const stack: ExpectedNode[] = [root]
    const parts = splitPath(path)
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const here = stack.at(-1)
      if (here?.children === undefined) return undefined
      if (part === '.') continue
      if (part === '..') {
        if (stack.length > 1) stack.pop()
        continue
      }
      const node = here.children.get(part)
      if (node === undefined) return undefined
      if (node.type !== 'symlink' || (parts.length === 0 && last === 'keep')) {
        stack.push(node)
        continue
      }
      if (--budget.links < 0) return undefined
      const target = node.target ?? Buffer.alloc(0)
      if (target[0] === 0x2f) stack.length = 1
      parts.unshift(...splitPath(target))
    }
    return stack.at(-1)
  }

  const find = (path: Buffer): ExpectedNode | undefined => (path.length === 0 ? root : walk(path, 'keep'))
  const parentNode = (path: Buffer): ExpectedNode | undefined => walk(parentOf(path), 'follow')

  function makeDirectories(path: Buffer): void {
    if (path.length === 0) return
    const there = find(path)
    if (there === undefined || there.type === 'whiteout') {
      makeDirectories(parentOf(path))
      const parent = parentNode(path)
      if (parent?.children === undefined) throw cannot(path)
      const inherits = (parent.mode & SETGID) !== 0
      put(parent, path, newDirectory(inherits ? 0o755 | SETGID : 0o755, inherits ? parent.gid : 0))
      implied.add(keyOf(path))
      if (there !== undefined) opaque(path)
    } else makeDirectories(parentOf(path))
  }

  function put(parent: ExpectedNode, path: Buffer, node: ExpectedNode): void {
    const name = baseOf(path).toString('latin1')
    const before = parent.children?.get(name)
    if (before !== undefined) {
      drop(before)
      if (before.type === 'directory') forget(path)
    }
    parent.children?.set(name, node)
    node.links++
  }

  function forget(path: Buffer): void {
    const key = keyOf(path)
    for (const kept of [implied, times]) {
      for (const name of kept.keys()) if (name === key || name.startsWith(`${key}/`)) kept.delete(name)
    }
  }

  function create(path: Buffer, node: ExpectedNode): void {
    makeDirectories(parentOf(path))
    const parent = parentNode(path)
    if (parent?.children === undefined) throw cannot(path)
    put(parent, path, node)
  }

  function directory(path: Buffer): ExpectedNode {
    if (path.length === 0) {
      implied.delete('')
      return root
    }
    const there = find(path)
    const isNew = there?.type !== 'directory'
    if (isNew) create(path, newDirectory(0o755, 0))
    if (there?.type === 'whiteout') opaque(path)
    implied.delete(keyOf(path))
    const made = find(path)
    if (made === undefined) throw cannot(path)
    return made
  }

  function hide(path: Buffer): void {
    const there = find(path)
    if (there?.type === 'directory') return opaque(path)
    if (there !== undefined) return
    if (marks === 'overlay') create(path, newMark('whiteout'))
    else create(inDirectory(parentOf(path), Buffer.concat([WHITEOUT, baseOf(path)])), newMark('file'))
  }

  function opaque(path: Buffer): void {
    if (marks === 'names') return create(inDirectory(path, OPAQUE), newMark('file'))
    const there = find(path)
    if (there !== undefined) there.opaque = true
  }

  function linkToLower(path: Buffer, target: Buffer): void {
    for (const name of [target, path]) makeDirectories(parentOf(name))
    if (find(target) === undefined) {
      create(target, { ...newMark('lower'), lower: Buffer.from(target) })
    }
    const copied = find(target)
    if (copied === undefined) throw cannot(target)
    create(path, copied)
    for (const name of [target, path]) {
      const parent = parentNode(name)
      if (parent !== undefined) touched.add(parent)
    }
  }

  function finish(): readonly Buffer[] {
    for (const [key, mtime] of [...times].reverse()) {
      const there = find(Buffer.from(key, 'latin1'))
      if (there !== undefined && !touched.has(there)) Object.assign(there, { mtime })
    }
    return [...implied].map((key) => Buffer.from(key, 'latin1'))
  }

  return {
    root,
    find,
    create,
    directory,
    makeDirectories,
    hide,
    opaque,
    linkToLower,
    setDirectoryTime: (path, time) => void times.set(keyOf(path), time),
    finish,
  }
}

const keyOf = (path: Buffer): string => path.toString('latin1')

function splitPath(path: Buffer): string[] {
  return keyOf(path)
    .split('/')
    .filter((part) => part !== '')
}

function newDirectory(mode: number, gid: number): ExpectedNode {
  return { type: 'directory', mode, uid: 0, gid, xattrs: new Map(), links: 0, children: new Map() }
}

/** What only its type or its name matters of. */
function newMark(type: 'whiteout' | 'file' | 'lower'): ExpectedNode {
  return { type, mode: 0o600, uid: 0, gid: 0, xattrs: new Map(), links: 0, ...(type === 'file' ? { size: 0 } : {}) }
}

/** A name is gone; what was a directory takes all in it along. */
function drop(node: ExpectedNode): void {
  const gone = [node]
  for (const one of gone) {
    one.links--
    if (one.children !== undefined && one.links === 0) gone.push(...one.children.values())
  }
}

/** The archive could not have been unpacked either. */
function cannot(path: Buffer): TscrunError {
  return badTar(`there is no place for ${show(path)}`)
}
