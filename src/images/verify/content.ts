import { createHash } from 'node:crypto'
import { extentsOf, readExactly } from '../../archive/files.ts'
import { reopen, statOf } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'

const BLOCK = 4096
const ZEROS = Buffer.alloc(BLOCK)

/**
 * What stands for the content of a file with holes: a hash of its blocks that are not all zeros, each with its place. So
 * it is the same whatever of the zeros are holes, and holes cost nothing. Bytes come in order of their position.
 */
export function createSparseHash(): { add(chunk: Buffer, position: number): void; digest(): string } {
  const hash = createHash('sha256')
  const block = Buffer.alloc(BLOCK)
  let number = -1
  const flush = (): void => {
    if (number >= 0 && !block.equals(ZEROS)) hash.update(`${number}:`).update(block)
    block.fill(0)
  }
  return {
    add(chunk, position) {
      for (let at = 0; at < chunk.length; ) {
        const into = (position + at) % BLOCK
        const index = (position + at - into) / BLOCK
        if (index !== number) {
          flush()
          number = index
        }
        const count = Math.min(BLOCK - into, chunk.length - at)
        chunk.copy(block, into, at, at + count)
        at += count
      }
    },
    digest() {
      flush()
      return hash.digest('hex')
    },
  }
}

/** `plain` is the sha256 of the bytes, `sparse` what `createSparseHash` makes of them. */
export type ContentForm = 'plain' | 'sparse'

/** What stands for the content of a file; the descriptor may be an O_PATH one. Hex. */
export function contentHash(path: number, form: ContentForm): string {
  const fd = reopen(path, openFlags.readonly)
  try {
    const stats = statOf(fd)
    const extents = form === 'sparse' ? extentsOf(fd, stats) : undefined
    const [plain, sparse] = [createHash('sha256'), createSparseHash()]
    for (const extent of extents ?? [{ offset: 0, length: Number(stats.size) }]) {
      let at = extent.offset
      for (const chunk of readExactly(fd, extent)) {
        if (form === 'plain') plain.update(chunk)
        else sparse.add(chunk, at)
        at += chunk.length
      }
    }
    return form === 'plain' ? plain.digest('hex') : sparse.digest()
  } finally {
    closeFd(fd)
  }
}
