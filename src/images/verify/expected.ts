import { createHash, type Hash } from 'node:crypto'
import { AUFS, OPAQUE, WHITEOUT } from '../extractor/marks.ts'
import { baseOf, cleanName, inDirectory, parentOf } from '../extractor/names.ts'
import type { TarEntry, TarHandler } from '../extractor/tar.ts'
import { isHarmless } from '../xattrs.ts'
import { createSparseHash } from './content.ts'
import { createNodes, type ExpectedNode, type MarkForm, type Nodes } from './nodes.ts'

/** The tree that an archive describes, without a byte of its files. */
export interface ExpectedTree {
  readonly root: ExpectedNode
  /** Paths of directories that no member described: the layers below say what they are. */
  readonly implied: readonly Buffer[]
  /** A directory hands access lists on to what is made in it: modes and lists are then not the archive's alone. */
  readonly inheritsAcl: boolean
}

/** Builds the tree from the members of an archive, by the rules of the layer writer. */
export interface ExpectedTreeBuilder extends TarHandler {
  finish(): ExpectedTree
}

export function createExpectedTree(marks: MarkForm): ExpectedTreeBuilder {
  const nodes = createNodes(marks)
  const links: [Buffer, Buffer][] = []
  let content: FileContent | undefined
  let inheritsAcl = false

  function entry(member: TarEntry): void {
    const path = cleanName(member.name)
    content = undefined
    const base = baseOf(path)
    if (base.subarray(0, WHITEOUT.length).equals(WHITEOUT)) return whiteout(nodes, path, base)
    if (member.type === 'char' && member.major === 0 && member.minor === 0) return nodes.hide(path)
    inheritsAcl ||= member.xattrs.has('system.posix_acl_default')
    if (member.type === 'link') return link(path, cleanName(member.linkName))
    const xattrs = xattrsOf(member)
    if (member.type === 'directory') {
      const directory = nodes.directory(path)
      Object.assign(directory, attributesOf(member), { xattrs: new Map([...directory.xattrs, ...xattrs]) })
      return nodes.setDirectoryTime(path, member.mtime)
    }
    const { type, major, minor, size, linkName: target } = member
    const node: ExpectedNode = { type, ...attributesOf(member), xattrs, mtime: member.mtime, links: 0 }
    if (type === 'symlink') Object.assign(node, { target: Buffer.from(target), mode: 0o777 })
    if (type === 'char' || type === 'block') Object.assign(node, { major, minor })
    if (type === 'file') {
      Object.assign(node, { size })
      content = contentOf(node, member)
    }
    nodes.create(path, node)
  }

  function link(path: Buffer, target: Buffer): void {
    if (path.equals(target)) return
    const there = nodes.find(target)
    if (there === undefined) links.push([Buffer.from(path), Buffer.from(target)])
    else nodes.create(path, there)
  }

  function finish(): ExpectedTree {
    for (const [path, target] of links) {
      const there = nodes.find(target)
      if (there !== undefined && there.type !== 'whiteout') nodes.create(path, there)
      else nodes.linkToLower(path, target)
    }
    const implied = nodes.finish()
    return { root: nodes.root, implied, inheritsAcl }
  }

  return {
    entry,
    data: (chunk, start, end, position) => content?.add(chunk.subarray(start, end), position),
    endOfFile() {
      content?.end()
      content = undefined
    },
    finish,
  }
}

function whiteout(nodes: Nodes, path: Buffer, base: Buffer): void {
  const parent = parentOf(path)
  if (base.equals(OPAQUE)) {
    if (parent.length > 0) nodes.makeDirectories(parent)
    return nodes.opaque(parent)
  }
  if (base.subarray(0, AUFS.length).equals(AUFS)) return
  nodes.hide(inDirectory(parent, base.subarray(WHITEOUT.length)))
}

function attributesOf({ mode, uid, gid }: TarEntry): Pick<ExpectedNode, 'mode' | 'uid' | 'gid'> {
  return { mode, uid, gid }
}

/** Those that the layer writer takes over. The kernel has `user.` ones on files and directories alone. */
function xattrsOf(member: TarEntry): ReadonlyMap<string, Buffer> {
  const holds = member.type === 'file' || member.type === 'directory'
  const isTaken = (name: string): boolean =>
    name === 'security.capability' || (isHarmless(name) && (holds || !name.startsWith('user.')))
  return new Map([...member.xattrs].filter(([name]) => isTaken(name)))
}

interface FileContent {
  add(chunk: Buffer, position: number): void
  end(): void
}

/** A hash of what follows is put into the node. */
function contentOf(node: ExpectedNode, { sparse }: TarEntry): FileContent {
  if (sparse === undefined) {
    const hash: Hash = createHash('sha256')
    return {
      add: (chunk) => void hash.update(chunk),
      end: () => void Object.assign(node, { content: { form: 'plain', hash: hash.digest('hex') } }),
    }
  }
  const hash = createSparseHash()
  return {
    add: (chunk, position) => hash.add(chunk, position),
    end: () => void Object.assign(node, { content: { form: 'sparse', hash: hash.digest() } }),
  }
}
