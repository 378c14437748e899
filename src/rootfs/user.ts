import { TscrunError } from '../model/errors.ts'

/** Whom the command runs as, in the container's ids. */
export interface ResolvedUser {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  /** From passwd; `/` where there is no entry. */
  readonly home: string
}

/** Largest id: beyond it 32-bit arithmetic wraps around to root (CVE-2024-40635). */
const MAX_ID = 2 ** 31 - 1
const MAX_GROUPS = 65536

interface PasswdEntry {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

/**
 * Resolves `user`, `uid`, `user:group`, `uid:gid` (docker-run(1), --user) by the image's passwd and group. Digits are
 * always an id, never looked up as a name (CVE-2016-3697, CVE-2026-46680). Throws USER_NOT_FOUND.
 */
export function resolveUser(
  text: string,
  passwd: string,
  group: string,
  groupAdd: readonly string[] = [],
): ResolvedUser {
  const [userPart = '', groupPart, ...rest] = text.split(':')
  if (rest.length > 0) throw notFound(text, 'it has more than one colon', 'write USER, UID, USER:GROUP or UID:GID')
  const wanted = userPart === '' ? '0' : userPart
  const entries = parsePasswd(passwd)
  const uidGiven = parseId(wanted, text)
  const entry = entries.find((candidate) =>
    uidGiven === undefined ? candidate.name === wanted : candidate.uid === uidGiven,
  )
  if (entry === undefined && uidGiven === undefined) {
    throw notFound(wanted, 'no such user in /etc/passwd of the image', 'give a number, or a name that the image knows')
  }
  const groups = parseGroups(group)
  const gid = groupPart === undefined || groupPart === '' ? (entry?.gid ?? 0) : groupId(groupPart, groups, text)
  // With an explicit group the user's other groups are not taken, as docker and podman have it.
  const member =
    groupPart === undefined && entry !== undefined ? groups.filter((item) => item.members.includes(entry.name)) : []
  const additional = [...member.map((item) => item.gid), ...groupAdd.map((name) => groupId(name, groups, name))]
  const home = entry?.home.startsWith('/') === true ? entry.home : '/'
  return { uid: uidGiven ?? entry?.uid ?? 0, gid, additionalGids: [...new Set(additional)].slice(0, MAX_GROUPS), home }
}

function groupId(name: string, groups: readonly GroupEntry[], subject: string): number {
  const id = parseId(name, subject)
  if (id !== undefined) return id
  const found = groups.find((item) => item.name === name)
  if (found === undefined)
    throw notFound(
      name,
      'no such group in /etc/group of the image',
      'give a number, or a name that the image knows',
      'group',
    )
  return found.gid
}

/** Undefined for a name; throws for digits that are no id. */
function parseId(text: string, subject: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined
  const id = Number(text)
  if (id > MAX_ID) throw notFound(subject, `${text} is not an id`, `ids go from 0 to ${MAX_ID}`)
  return id
}

function notFound(subject: string, reason: string, hint: string, what = 'user'): TscrunError {
  return new TscrunError('USER_NOT_FOUND', `${what} ${JSON.stringify(subject)}: ${reason}`, { subject, hint })
}

/** passwd(5); lines that are no entry are passed over, as the C library does. */
function parsePasswd(text: string): PasswdEntry[] {
  const entries: PasswdEntry[] = []
  for (const line of text.split('\n')) {
    const [name, , uid, gid, , home] = line.split(':')
    if (name === undefined || name === '' || !isId(uid) || !isId(gid)) continue
    entries.push({ name, uid: Number(uid), gid: Number(gid), home: home ?? '' })
  }
  return entries
}

interface GroupEntry {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** group(5). */
function parseGroups(text: string): GroupEntry[] {
  const entries: GroupEntry[] = []
  for (const line of text.split('\n')) {
    const [name, , gid, members] = line.split(':')
    if (name === undefined || name === '' || !isId(gid)) continue
    entries.push({ name, gid: Number(gid), members: (members ?? '').split(',').filter((member) => member !== '') })
  }
  return entries
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^[0-9]+$/.test(text) && Number(text) <= MAX_ID
}
