import { type Digest, parseDigest } from './digest.ts'
import { TscrunError } from './errors.ts'

/**
 * A complete image name. `alpine` is short for `docker.io/library/alpine:latest`
 * (distribution's reference grammar; Docker Hub's short names).
 */
export interface Reference {
  /** Registry as the user names it: `docker.io`, `localhost:5000`. */
  readonly registry: string
  /** Path inside the registry, e.g. `library/alpine`. */
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

const COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const REGISTRY =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/

/** Parses what a user types. A missing tag becomes `latest`, unless there is a digest. Throws INVALID_REFERENCE. */
export function parseReference(text: string): Reference {
  const bad = (reason: string, hint?: string): never => {
    throw new TscrunError('INVALID_REFERENCE', `image name ${JSON.stringify(text)}: ${reason}`, {
      subject: text,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  if (text === '') bad('empty')
  const at = text.indexOf('@')
  const named = at < 0 ? text : text.slice(0, at)
  let digest: Digest | undefined
  if (at >= 0) {
    const digestText = text.slice(at + 1)
    if (!/^sha256:[0-9a-f]{64}$/.test(digestText)) bad('what follows @ must be sha256: and 64 lower-case hex digits')
    digest = parseDigest(digestText, text)
  }
  const slash = named.indexOf('/')
  const head = slash < 0 ? '' : named.slice(0, slash)
  const isRegistry = head !== '' && (/[.:]/.test(head) || head === 'localhost' || head !== head.toLowerCase())
  let rest = isRegistry ? named.slice(slash + 1) : named
  let registry = isRegistry ? head : 'docker.io'
  if (registry === 'index.docker.io') registry = 'docker.io'
  if (!REGISTRY.test(registry)) bad(`${JSON.stringify(registry)} is not a registry host`)
  let tag: string | undefined
  const colon = rest.lastIndexOf(':')
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!TAG.test(tag))
      bad(`${JSON.stringify(tag)} is not a tag`, 'a tag has letters, digits, _ . - and at most 128 of them')
  }
  if (rest === '') bad('the repository is missing')
  if (rest !== rest.toLowerCase())
    bad('a repository is written in lower case', `try ${JSON.stringify(text.toLowerCase())}`)
  if (!rest.split('/').every((component) => COMPONENT.test(component))) bad('not a valid repository name')
  if (registry === 'docker.io' && !rest.includes('/')) rest = `library/${rest}`
  if (rest.length > 255) bad('the repository name is longer than 255 characters')
  if (tag === undefined && digest === undefined) tag = 'latest'
  return {
    registry,
    repository: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** The complete name: `docker.io/library/alpine:3`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}
