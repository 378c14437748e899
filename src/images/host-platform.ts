import type { Platform } from '../model/image.ts'
import { parsePlatform, platformOfArch } from '../model/platform.ts'

/** The platform whose images this machine runs. */
export function hostPlatform(): Platform {
  return platformOfArch(process.arch)
}

/** The one that is asked for, or without any this machine's. Throws USAGE. */
export function platformFor(text: string | undefined): Platform {
  return text === undefined ? hostPlatform() : parsePlatform(text, hostPlatform())
}
