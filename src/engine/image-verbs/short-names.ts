import type { Environment } from '../../registry/environment.ts'
import type { RegistriesConf } from '../../registry/registries-conf.ts'
import type { RegistrySettings } from '../../registry/registry-settings.ts'
import { isShortName, localNames, mayBeRenamed, pullNames } from '../../registry/short-names.ts'

/** What short names stand for, by registries.conf. That file's parser is loaded only for a name it may speak of. */
export interface ShortNames {
  /** Complete names under which the store may have it, likeliest first; none without `prepare`, or where no file says. */
  readonly local: (text: string) => readonly string[]
  /** Without a name for any that may come. */
  prepare(text?: string): Promise<void>
  /** What to pull for it, in this order. Throws INVALID_REFERENCE where the files leave it open. */
  toPull(text: string): Promise<readonly string[]>
}

export function createShortNames(env: Environment, own?: RegistrySettings): ShortNames {
  let conf: RegistriesConf | undefined
  const prepare = async (text?: string): Promise<void> => {
    if (conf !== undefined || (text !== undefined && own === undefined && !mayBeRenamed(text, env))) return
    const { loadRegistriesConf } = await import('../../registry/registries-conf.ts')
    conf = loadRegistriesConf(env, own)
  }
  return {
    local: (text) => (conf === undefined || !isShortName(text) ? [] : localNames(text, conf)),
    prepare,
    async toPull(text) {
      await prepare(text)
      return conf === undefined ? [text] : pullNames(text, conf)
    },
  }
}
