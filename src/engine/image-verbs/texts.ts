import { errnoOf, TscrunError } from '../../model/errors.ts'
import * as json from '../../images/json.ts'
import { type RawConfig, rawConfig } from '../../images/new-image.ts'
import type { ImageStore, StoredImage } from '../../images/store.ts'

/** What an image's config says for people, and for builds; without it where the config is gone or damaged. */
export interface ImageTexts {
  readonly author: string
  /** That of the image, else of its newest line of history, as docker has it. */
  readonly comment: string
  readonly onBuild: readonly string[]
}

export function textsOf(store: ImageStore, image: StoredImage): ImageTexts | undefined {
  const where = `config of ${image.id}`
  try {
    return readTexts(rawConfig(store.readBlob(image.id), where), where)
  } catch (error) {
    // `image verify` has the word for it.
    if (errnoOf(error) === 'ENOENT' || (error instanceof TscrunError && error.code === 'INVALID_IMAGE'))
      return undefined
    throw error
  }
}

function readTexts({ document, config, history }: RawConfig, where: string): ImageTexts {
  const text = (key: string): string => json.optionalString(document, key, where) ?? ''
  const onBuild = json.list(config, 'OnBuild', where, 10_000).filter((line) => typeof line === 'string')
  return { author: text('author'), comment: text('comment') || (history.at(-1)?.comment ?? ''), onBuild }
}
