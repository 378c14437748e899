/** The text of each file, by its path below src/. */
type Sources = ReadonlyMap<string, string>

export function readSources(src: string): Sources
/** One line for each breach of the rules: `plan/compile.ts: imports node:fs ...`. */
export function violations(sources: Sources): string[]
