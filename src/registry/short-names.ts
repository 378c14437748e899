import { TscrunError } from '../model/errors.ts'
import { registriesFiles } from './config-files.ts'
import type { Environment } from './environment.ts'
import type { RegistriesConf } from './registries-conf.ts'

/** True for a name without a registry: `alpine`, `team/app:1`. The rule is that of `parseReference`. */
export function isShortName(text: string): boolean {
  const slash = text.indexOf('/')
  const head = text.slice(0, Math.max(slash, 0))
  return slash < 0 || !(/[.:]/.test(head) || head === 'localhost' || head !== head.toLowerCase())
}

/** Name and the tag or digest behind it. */
function takeApart(text: string): readonly [name: string, rest: string] {
  const end = text.search(/[:@]/)
  return end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end)]
}

/**
 * False where no file can give a short name another meaning than Docker Hub's. Costs a few reads and loads no parser:
 * every start of a container asks.
 */
export function mayBeRenamed(text: string, env: Environment): boolean {
  if (!isShortName(text)) return false
  const [name] = takeApart(text)
  const usual = `docker.io/${name.includes('/') ? name : `library/${name}`}`
  return registriesFiles(env).some(({ text: file }) =>
    file.split('\n').some((line) => {
      if (/^\s*(?:unqualified-search-registries|aliases)\b/.test(line)) return true
      const alias = /^\s*["']?([^"'=\s]+)["']?\s*=\s*["']([^"']*)["']/.exec(line)
      return alias?.[1] === name && alias[2] !== usual
    }),
  )
}

/** Complete names under which a short one may be stored, most likely first. */
export function localNames(text: string, conf: RegistriesConf): readonly string[] {
  if (!isShortName(text)) return [text]
  const [name, rest] = takeApart(text)
  const alias = conf.aliases.get(name)
  const hosts = [...new Set([...(conf.search ?? []), 'docker.io', 'localhost'])]
  return [...(alias === undefined ? [] : [alias + rest]), ...hosts.map((host) => `${host}/${text}`)]
}

/**
 * Complete names to pull a short one by, in this order; the first that is there counts. Throws INVALID_REFERENCE where
 * the files leave it open which is meant.
 */
export function pullNames(text: string, conf: RegistriesConf): readonly string[] {
  if (!isShortName(text)) return [text]
  const [name, rest] = takeApart(text)
  const alias = conf.aliases.get(name)
  if (alias !== undefined) return [alias + rest]
  const search = conf.search ?? ['docker.io']
  const complete = search.map((host) => `${host}/${text}`)
  if (search.length === 0) {
    throw new TscrunError('INVALID_REFERENCE', `image name ${JSON.stringify(text)}: without a registry`, {
      subject: text,
      hint: `unqualified-search-registries of registries.conf is empty; write docker.io/${text} in full`,
    })
  }
  if (search.length > 1 && conf.mode === 'enforcing') {
    throw new TscrunError('INVALID_REFERENCE', `image name ${JSON.stringify(text)}: of which registry?`, {
      subject: text,
      hint: `short-name-mode is enforcing; write one of ${complete.join(', ')} in full`,
    })
  }
  return complete
}
