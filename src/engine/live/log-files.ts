import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../../model/errors.ts'
import { LOG_FILE } from '../../model/launch.ts'
import type { LogFollower } from '../../runtime/log-follower.ts'

/** What a log has, oldest first, over all its files. */
export interface LogReader {
  /** Complete lines with their newlines, undefined where no more are there now. */
  next(): Buffer | undefined
  /** Opens what rotation has made meanwhile, so that it cannot remove it unread. */
  look(): void
  close(): void
}

interface OpenFile {
  readonly fd: number
  readonly inode: number
}

const CHUNK = 256 * 1024
/**
 * So many files are held at most that rotation has removed, or will: a slow reader must not fill the disk, and one that has
 * stopped even less. What comes then it never sees.
 */
const MOST_HELD = { reading: 100, stopped: 16 } as const
const STOPPED_MS = 10_000

/**
 * Opens `log` and the files that rotation has put aside: `log.1`, the higher the older. All that is not read yet is held
 * open, so that it is read to its end although rotation renames and at last removes it; `follower` hands over each new file,
 * without one they are looked for, and several in one moment may be missed. An inode can only be taken for a
 * file that is open: the number of a removed one may be given to the next.
 */
export function openLog(directory: string, follower?: Pick<LogFollower, 'next'>): LogReader {
  const queue: OpenFile[] = []
  let rest: Buffer = Buffer.alloc(0)
  let lastReadMs = performance.now()
  look()
  return {
    next: () => {
      lastReadMs = performance.now()
      for (;;) {
        // Before the read: where there is a newer file already, nothing is added to this one any more.
        look()
        const [file, newer] = queue
        if (file === undefined) return undefined
        const lines = read(file.fd)
        if (lines === undefined && newer === undefined) return undefined
        if (lines === undefined) closeSync(queue.shift()?.fd ?? -1)
        else if (lines.length > 0) return lines
      }
    },
    look,
    close: () => {
      for (const { fd } of queue.splice(0)) closeSync(fd)
    },
  }

  /** Empty where no line is complete yet, undefined at the end. */
  function read(fd: number): Buffer | undefined {
    const chunk = Buffer.allocUnsafe(rest.length + CHUNK)
    rest.copy(chunk)
    const got = readSync(fd, chunk, rest.length, CHUNK, null)
    if (got === 0) {
      // Half a line, of a disk that was full.
      if (queue.length > 1) rest = Buffer.alloc(0)
      return undefined
    }
    const all = chunk.subarray(0, rest.length + got)
    const end = all.lastIndexOf(0x0a) + 1
    rest = Buffer.from(all.subarray(end))
    return all.subarray(0, end)
  }

  /** Takes in the files that are newer than the newest one we have. */
  function look(): void {
    if (follower === undefined) return scan()
    const handed = take(follower)
    // What is no longer in the directory is older than all that is.
    if (queue.length === 0) scan()
    else return void queue.push(...handed)
    for (const file of handed.toReversed()) {
      if (isHeld(file.inode)) closeSync(file.fd)
      else queue.unshift(file)
    }
  }

  /** What we have found by ourselves is handed over as well. */
  function take({ next }: Pick<LogFollower, 'next'>): OpenFile[] {
    const files: OpenFile[] = []
    for (let fd: number | undefined; queue.length + files.length < mostHeld() && (fd = next()) !== undefined; ) {
      const { ino: inode } = fstatSync(fd)
      if (isHeld(inode)) closeSync(fd)
      else files.push({ fd, inode })
    }
    return files
  }

  function isHeld(inode: number): boolean {
    return queue.some((file) => file.inode === inode)
  }

  function mostHeld(): number {
    return MOST_HELD[performance.now() - lastReadMs > STOPPED_MS ? 'stopped' : 'reading']
  }

  function scan(): void {
    const newest = queue.at(-1)
    if (queue.length >= mostHeld()) return
    if (newest !== undefined && statSync(pathOf(0), { throwIfNoEntry: false })?.ino === newest.inode) return
    const found: OpenFile[] = []
    for (let number = 0; ; number++) {
      const file = open(pathOf(number))
      // Between two of its renames `log` itself is missing.
      if (file === undefined && number > 0) break
      if (file === undefined) continue
      if (file.inode === newest?.inode || found.some(({ inode }) => inode === file.inode)) {
        closeSync(file.fd)
        if (file.inode === newest?.inode) break
      } else found.push(file)
    }
    queue.push(...found.toReversed())
  }

  function pathOf(number: number): string {
    return join(directory, number === 0 ? LOG_FILE : `${LOG_FILE}.${number}`)
  }
}

function open(path: string): OpenFile | undefined {
  try {
    const fd = openSync(path, 'r')
    return { fd, inode: fstatSync(fd).ino }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
