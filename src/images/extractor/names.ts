import { badTar } from './tar-numbers.ts'

const SLASH = 0x2f

/**
 * The name of a member as a path below the root: no leading slash, no `.` or empty component, `..` taken back
 * as text. The root itself is the empty name. Throws INVALID_IMAGE where `..` climbs out or a NUL is inside.
 */
export function cleanName(name: Buffer): Buffer {
  if (isClean(name)) return name
  if (name.includes(0)) throw badTar('a name with a NUL byte')
  const kept: Buffer[] = []
  let start = 0
  while (start <= name.length) {
    let end = name.indexOf(SLASH, start)
    if (end < 0) end = name.length
    const part = name.subarray(start, end)
    start = end + 1
    if (part.length === 0 || isDots(part, 1)) continue
    if (!isDots(part, 2)) kept.push(part)
    else if (kept.pop() === undefined) throw badTar(`the name ${show(name)} leaves the root`)
  }
  return join(kept)
}

/** Nearly every name: components that neither are empty nor begin with a dot. */
function isClean(name: Buffer): boolean {
  let previous = SLASH
  for (const byte of name) {
    if (byte === 0 || (previous === SLASH && (byte === SLASH || byte === 0x2e))) return false
    previous = byte
  }
  return previous !== SLASH
}

function isDots(part: Buffer, count: number): boolean {
  return part.length === count && part[0] === 0x2e && part[count - 1] === 0x2e
}

function join(parts: readonly Buffer[]): Buffer {
  const pieces: Buffer[] = []
  for (const part of parts) {
    if (pieces.length > 0) pieces.push(Buffer.of(SLASH))
    pieces.push(part)
  }
  return Buffer.concat(pieces)
}

/** The name without its last component; the empty name for what lies in the root. */
export function parentOf(name: Buffer): Buffer {
  const slash = name.lastIndexOf(SLASH)
  return name.subarray(0, slash < 0 ? 0 : slash)
}

/** The last component. */
export function baseOf(name: Buffer): Buffer {
  return name.subarray(name.lastIndexOf(SLASH) + 1)
}

export function inDirectory(directory: Buffer, base: Buffer): Buffer {
  return directory.length === 0 ? base : Buffer.concat([directory, Buffer.of(SLASH), base])
}

/** A name for a message: text where it is text, cut where it is long. */
export function show(name: Buffer): string {
  return JSON.stringify(name.subarray(0, 200).toString())
}
