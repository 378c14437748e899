import { closest } from '../../model/closest.ts'
import { TscrunError } from '../../model/errors.ts'

/** Where in a document a value stands: a chain of keys and positions up to the document's own name. */
export interface Place {
  readonly parent?: Place
  readonly key: string | number
}

/** The place of the member `key` (of an object) or at position `key` (of a list). */
export function under(parent: Place, key: string | number): Place {
  return { parent, key }
}

/** INVALID_CONFIG as `config.json: process.args[0]: <reason>`; `subject` is the path without the document's name. */
export function invalid(at: Place, reason: string, hint?: string): TscrunError {
  const { document, path } = written(at)
  return new TscrunError('INVALID_CONFIG', path === '' ? `${document}: ${reason}` : `${document}: ${path}: ${reason}`, {
    subject: path === '' ? document : path,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** `did you mean CAP_CHOWN`, else the whole choice where it is short. What all names begin with says nothing. */
export function suggestion(word: string, names: readonly string[]): string | undefined {
  const prefix = commonPrefix(names)
  const start = word.startsWith(prefix) ? prefix.length : 0
  const rest = word.slice(start)
  // A word of two letters is near to any other.
  const near =
    rest.length < 3
      ? undefined
      : closest(
          rest,
          names.map((name) => name.slice(start)),
        )
  if (near !== undefined) return `did you mean ${word.slice(0, start)}${near}`
  return names.length <= 9 ? `one of ${names.join(', ')}` : undefined
}

/** Up to the last underscore that all names have in common; empty where there is none. */
function commonPrefix([first = '', ...others]: readonly string[]): string {
  let end = first.lastIndexOf('_') + 1
  while (end > 0 && !others.every((name) => name.startsWith(first.slice(0, end)))) {
    end = first.lastIndexOf('_', end - 2) + 1
  }
  return first.slice(0, end)
}

function written(at: Place): { readonly document: string; readonly path: string } {
  let path = ''
  let place = at
  for (; place.parent !== undefined; place = place.parent) path = step(place.key, path)
  return { document: String(place.key), path: path.startsWith('.') ? path.slice(1) : path }
}

function step(key: string | number, rest: string): string {
  if (typeof key === 'number') return `[${key}]${rest}`
  return /^\w{1,100}$/.test(key) ? `.${key}${rest}` : `[${quoted(key)}]${rest}`
}

/** A text of the document in a message: as it is if that cannot mislead, else in quotes; one line, not too long. */
export function shown(text: string): string {
  return /^[\w./:@+-]{1,80}$/.test(text) ? text : quoted(text)
}

function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}...` : text
  return JSON.stringify(short).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => {
    return `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}
