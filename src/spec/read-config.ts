import type { OciConfig, OciProcess, OciResources } from '../model/config.ts'
import { config } from './read/config.ts'
import { parseJson } from './read/json.ts'
import { containerProcess } from './read/processes.ts'
import { resources } from './read/resources.ts'
import type { Read } from './read/vocabulary.ts'

/**
 * The runtime configuration that `text` writes (runtime-spec 1.x config.md, config-linux.md), complete and checked:
 * relative mount destinations are absolute, numbers beyond 2^53-1 are what model/config.ts says, `null` and unknown
 * members are gone. Throws INVALID_CONFIG in one line, `config.json: <path>: <reason>`, for the first thing that is
 * wrong: no JSON, another type, an unknown word, what no kernel takes, what contradicts another part, and what tscrun
 * knows but cannot honour.
 *
 * @param where what messages call the document
 */
export function readConfig(text: string, where = 'config.json'): OciConfig {
  return readDocument(config, text, where)
}

/** The same for the one process of `exec --process FILE`. */
export function readProcess(text: string, where = 'process'): OciProcess {
  return readDocument(containerProcess, text, where)
}

/** The same for the limits of `update --resources FILE`, which may be any part of them. */
export function readResources(text: string, where = 'resources'): OciResources {
  return readDocument(resources, text, where)
}

function readDocument<T>(read: Read<T>, text: string, where: string): T {
  const document = { key: where }
  return read(parseJson(text, document), document)
}
