import type { MadeBy } from '../engine/api.ts'

/**
 * The command line a container is made by, which is kept with it; without a login, which is not. `operands` are the words
 * from the image on: what stands there is the container's own.
 */
export function madeBy(words: readonly string[], operands: readonly string[], cwd: string): MadeBy {
  const flags = words.slice(0, words.length - operands.length)
  const isSecret = (word: string, index: number): boolean =>
    word === '--creds' || word.startsWith('--creds=') || flags[index - 1] === '--creds'
  return { words: [...flags.filter((word, index) => !isSecret(word, index)), ...operands], cwd }
}
